//! The bars of a benchmark: which of them a run has missed, and whether it fails of it.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// The bars of one run.
#[derive(Debug)]
pub struct Bars {
    strict: bool,
    missed: Mutex<Vec<String>>,
}

impl Bars {
    /// Reads the options of this program: a number behind each of `numbers`, and `--strict`, with
    /// which a missed bar is a failure.
    ///
    /// # Errors
    /// An option that is none of these, or without its number.
    pub fn from_options(numbers: &mut [(&str, &mut usize)]) -> Result<Self> {
        let mut strict = false;
        let mut options = std::env::args().skip(1);
        while let Some(option) = options.next() {
            match option.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--strict" => strict = true,
                _ => match numbers.iter_mut().find(|(name, _)| *name == option) {
                    Some((_, number)) => {
                        let value = options.next().and_then(|value| value.parse().ok());
                        **number = value.context("a number behind the option")?;
                    }
                    None => {
                        let names: Vec<_> = numbers.iter().map(|(name, _)| *name).collect();
                        bail!(
                            "unknown option {option}: {} N, --strict",
                            names.join(" N, ")
                        );
                    }
                },
            }
        }
        Ok(Self {
            strict,
            missed: Mutex::default(),
        })
    }

    /// The word that is printed beside a figure; `what` names it, with its bar.
    pub fn verdict(&self, what: &str, met: bool) -> &'static str {
        if met {
            return "met";
        }
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.push(what.to_owned());
        "MISSED"
    }

    /// The end of the run.
    ///
    /// # Errors
    /// Bars that were missed, where that is a failure.
    pub fn end(self) -> Result<()> {
        let missed = self
            .missed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if self.strict && !missed.is_empty() {
            bail!("missed: {}", missed.join("; "));
        }
        Ok(())
    }
}
