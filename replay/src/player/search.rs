//! Searching on the screen as it was seen: the recording is played ahead on a screen of its own
//! until the text appears somewhere where it was not.

use super::{Goal, Player, Stage};
use crate::emulator::Watch;
use crate::timeline::What;

/// A search that is under way.
pub(super) struct Search {
    pattern: Pattern,
    stage: Stage,
    /// From here on it counts.
    from: usize,
    watch: Watch,
    /// How often the text stands in each row of the screen.
    counts: Vec<usize>,
}

/// What is looked for: with a capital letter exactly, otherwise in any case.
#[derive(Clone)]
pub(super) struct Pattern {
    text: String,
    any_case: bool,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            any_case: !text.chars().any(char::is_uppercase),
        }
    }

    fn count(&self, line: &str) -> usize {
        match self.any_case {
            true => line.to_lowercase().matches(&self.text).count(),
            false => line.matches(&self.text).count(),
        }
    }
}

impl Search {
    /// How far it has come, of how many moments.
    pub(super) fn progress(&self) -> usize {
        self.stage.at
    }

    fn count_all(&mut self) {
        let texts = self.stage.emulator.texts();
        self.counts = texts.map(|text| self.pattern.count(&text)).collect();
    }

    /// Whether this output made the text appear once more than before. What scrolled out of the
    /// screen is counted too.
    fn appears(&mut self, output: &str) -> bool {
        let before: usize = self.counts.iter().sum();
        let change = self.stage.emulator.feed_watched(output, &mut self.watch);
        if change.rows.is_empty() && change.gone.is_empty() {
            return false;
        }
        for (row, text) in self.stage.emulator.texts().enumerate() {
            if change.rows.contains(&row)
                && let Some(count) = self.counts.get_mut(row)
            {
                *count = self.pattern.count(&text);
            }
        }
        let gone: usize = change
            .gone
            .iter()
            .map(|line| self.pattern.count(line))
            .sum();
        self.counts.iter().sum::<usize>() + gone > before
    }
}

impl Player {
    /// Looks for text from here on.
    pub(super) fn search(&mut self, text: &str) {
        if !text.is_empty() {
            self.pattern = Some(Pattern::new(text));
        }
        self.search_again();
    }

    pub(super) fn search_again(&mut self) {
        let Some(pattern) = self.pattern.clone() else {
            self.message = Some("nothing to search for yet: press /".into());
            return;
        };
        let from = self.here().at;
        let mut stage = Stage::new(1, 1);
        stage.rewind(self.header.as_ref());
        stage.approach(from, &self.timeline, self.header.as_ref());
        self.search = Some(Search {
            pattern,
            stage,
            from,
            watch: Watch::default(),
            counts: Vec::new(),
        });
    }

    /// Goes on with a search, as far as the work goes.
    pub(super) fn find(&mut self, work: &mut u64) {
        if let Some(search) = self.search.take() {
            self.search = self.find_on(search, work);
        }
    }

    /// Gives the search back when it is not over.
    fn find_on(&mut self, mut search: Search, work: &mut u64) -> Option<Search> {
        while *work > 0 {
            let stage = &mut search.stage;
            if stage.at < search.from {
                stage.step(&self.timeline, work);
                continue;
            }
            if search.counts.is_empty() {
                search.count_all();
            }
            let stage = &mut search.stage;
            let Some(moment) = self.timeline.get(stage.at, &mut stage.cache) else {
                if !self.complete {
                    return Some(search);
                }
                self.message = Some("not found after this place".into());
                return None;
            };
            let now = moment.time;
            let what = moment.what.clone();
            let found = match &what {
                What::Output(text) => search.appears(text),
                What::Resize(cols, rows) => {
                    search.stage.emulator.resize(*cols, *rows);
                    search.count_all();
                    false
                }
                What::Marker(_) | What::Exit(_) => false,
            };
            let stage = &mut search.stage;
            stage.at += 1;
            *work = work.saturating_sub(stage.emulator.take_cost().max(16));
            if found {
                self.playing = false;
                self.goal = Some(Goal { at: stage.at, now });
                self.stage = search.stage;
                return None;
            }
        }
        Some(search)
    }
}
