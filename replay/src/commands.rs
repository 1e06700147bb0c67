//! The commands of a session: what a client ran (exec), what a shell said it ran (OSC 133), and
//! the markers of the recording.
//!
//! A shell that is not set up to say so is not guessed at: no command is told that was none.

use recording::event::{Event, EventData, Header};
use serde::Serialize;

use crate::about::About;
use crate::emulator::{Emulator, Shell, Told};

/// Something that was done in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// When, in microseconds since the start.
    pub time: u64,
    /// When it ended, where that is known.
    pub ended: Option<u64>,
    /// Where this is known from.
    pub source: Source,
    /// The command or the label as it was recorded; `None` where a shell ran one that could not
    /// be read off the screen.
    pub text: Option<String>,
    /// The exit status, where one is known.
    pub exit: Option<i32>,
}

/// Where a command is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The client asked for this command and no shell.
    Exec,
    /// The shell said so.
    Shell,
    /// A marker in the recording.
    Marker,
}

/// Collects what was done, event by event.
pub struct Commands {
    emulator: Emulator,
    shell: Shell,
    acts: Vec<Act>,
    /// The command that the shell is running.
    running: Option<usize>,
    now: u64,
}

/// Acts that are told; a session with more is one that wants to be long.
const ACTS_MAX: usize = 100_000;

impl Commands {
    /// For a recording with this header.
    pub fn new(header: &Header) -> Self {
        let about = About::of(header);
        let is_exec = about.kind.as_deref() == Some("exec");
        let exec = about.command.filter(|_| is_exec || about.kind.is_none());
        let exec = exec.map(|text| Act {
            time: 0,
            ended: None,
            source: Source::Exec,
            text: Some(text),
            exit: None,
        });
        Self {
            emulator: Emulator::new(header.cols, header.rows),
            shell: Shell::default(),
            acts: exec.into_iter().collect(),
            running: None,
            now: 0,
        }
    }

    /// The next event. Times must not go backwards.
    pub fn event(&mut self, event: &Event) {
        self.now = event.time;
        match &event.data {
            EventData::Output(text) => {
                for told in self.emulator.feed_shell(text, &mut self.shell) {
                    self.told(told);
                }
            }
            EventData::Resize { cols, rows } => {
                self.emulator.resize_shell(*cols, *rows, &mut self.shell);
            }
            EventData::Marker(label) => self.add(Source::Marker, Some(label.clone())),
            EventData::Exit(status) => {
                if let Some(exec) = self
                    .acts
                    .first_mut()
                    .filter(|act| act.source == Source::Exec)
                {
                    exec.ended = Some(event.time);
                    exec.exit = Some(*status);
                }
            }
            EventData::Input(_) | EventData::Other { .. } => {}
        }
    }

    /// All that was done, in order.
    pub fn finish(self) -> Vec<Act> {
        self.acts
    }

    fn add(&mut self, source: Source, text: Option<String>) {
        if self.acts.len() < ACTS_MAX {
            self.acts.push(Act {
                time: self.now,
                ended: None,
                source,
                text,
                exit: None,
            });
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Runs(text) => {
                self.running = (self.acts.len() < ACTS_MAX).then_some(self.acts.len());
                self.add(Source::Shell, text);
            }
            Told::Ended(exit) => {
                let running = self.running.take();
                if let Some(act) = running.and_then(|number| self.acts.get_mut(number)) {
                    act.ended = Some(self.now);
                    act.exit = exit.map(i32::from);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_says_and_markers_are_told() {
        let header = Header {
            cols: 40,
            rows: 5,
            ..Header::default()
        };
        let mut commands = Commands::new(&header);
        let output = |text: &str| EventData::Output(text.into());
        let prompt = "\x1b]133;A\x07$ \x1b]133;B\x07";
        for (time, data) in [
            (1, output(prompt)),
            (2, output("lx\x08s -l\r\n\x1b]133;C\x07")),
            (3, output("total 0\r\n")),
            (4, output("\x1b]133;D;2\x07")),
            (5, EventData::Marker("held".into())),
            (6, output(&format!("{prompt}sleep 9\r\n\x1b]133;C\x07"))),
        ] {
            commands.event(&Event { time, data });
        }
        let act = |time, ended, source, text: &str, exit| Act {
            time,
            ended,
            source,
            text: Some(text.into()),
            exit,
        };
        assert_eq!(
            commands.finish(),
            [
                act(2, Some(4), Source::Shell, "ls -l", Some(2)),
                act(5, None, Source::Marker, "held", None),
                act(6, None, Source::Shell, "sleep 9", None),
            ]
        );
    }

    #[test]
    fn a_command_without_a_shell_is_told_with_its_status() {
        let header = Header {
            cols: 40,
            rows: 5,
            command: Some("uname -a".into()),
            ..Header::default()
        };
        let mut commands = Commands::new(&header);
        commands.event(&Event {
            time: 7,
            data: EventData::Exit(3),
        });
        let acts = commands.finish();
        let first = acts.first().map(|act| (act.source, act.ended, act.exit));
        assert_eq!(first, Some((Source::Exec, Some(7), Some(3))));
    }
}
