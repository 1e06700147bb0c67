//! Searching on the screen as it was seen: the recording is played ahead on a screen of its own
//! until the text appears somewhere where it was not.

use super::{Goal, Live, Player, Stage};
use crate::emulator::Watch;
use crate::timeline::What;

/// A search that is under way.
pub(super) struct Search {
    pattern: Pattern,
    direction: Direction,
    stage: Stage,
    /// From here on it counts.
    from: usize,
    /// Back: up to here it counts, and the last place in between that was found.
    until: usize,
    found: Option<Goal>,
    watch: Watch,
    /// How often the text stands in each row of the screen.
    counts: Vec<usize>,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    /// Stretch by stretch, from keyframe to keyframe, each of them forward.
    Back,
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
        match self.direction {
            Direction::Forward => self.stage.at,
            Direction::Back => self.until,
        }
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
        self.search_on(Direction::Forward);
    }

    /// Looks for the same again, from here on or from here back.
    pub(super) fn search_on(&mut self, direction: Direction) {
        let Some(pattern) = self.pattern.clone() else {
            self.message = Some("nothing to search for yet: press /".into());
            return;
        };
        let here = self.here().at;
        let mut search = Search {
            pattern,
            direction,
            stage: Stage::new(1, 1),
            from: here,
            until: here,
            found: None,
            watch: Watch::default(),
            counts: Vec::new(),
        };
        match direction {
            Direction::Forward => {
                self.bring(&mut search);
                self.search = Some(search);
            }
            Direction::Back => {
                // What brought the viewer here is not what comes before it.
                search.until = here.saturating_sub(1);
                self.search_before(search);
            }
        }
    }

    /// Brings the search's screen to where it counts from.
    fn bring(&self, search: &mut Search) {
        search.stage.rewind(self.header.as_ref());
        let header = self.header.as_ref();
        search.stage.approach(search.from, &self.timeline, header);
        search.counts.clear();
    }

    /// Turns to the stretch before the one that was looked through, if there is one.
    fn search_before(&mut self, mut search: Search) {
        if let Some(last) = search.until.checked_sub(1) {
            search.from = self.timeline.chunk_start(last);
            self.bring(&mut search);
            self.search = Some(search);
        } else {
            self.message = Some("not found before this place".into());
        }
    }

    /// Goes on with a search, as far as the work goes.
    pub(super) fn find(&mut self, work: &mut u64) {
        while *work > 0
            && let Some(mut search) = self.search.take()
        {
            match self.find_on(&mut search, work) {
                Found::NotYet => self.search = Some(search),
                Found::More => {
                    self.search = Some(search);
                    return;
                }
                Found::At(goal) => {
                    self.playing = false;
                    if search.stage.at == goal.at {
                        self.stage = search.stage;
                        self.goal = Some(goal);
                    } else {
                        self.set_goal(goal);
                    }
                }
                Found::Nothing => self.message = Some("not found after this place".into()),
                Found::NothingHere => {
                    search.until = search.from;
                    self.search_before(search);
                }
            }
        }
    }

    /// One step of a search.
    fn find_on(&self, search: &mut Search, work: &mut u64) -> Found {
        if search.stage.at < search.from {
            search.stage.step(&self.timeline, work);
            return Found::NotYet;
        }
        if search.counts.is_empty() {
            search.count_all();
        }
        if search.direction == Direction::Back && search.stage.at >= search.until {
            return search.found.take().map_or(Found::NothingHere, Found::At);
        }
        let stage = &mut search.stage;
        let Some(moment) = self.timeline.get(stage.at, &mut stage.cache) else {
            return match self.complete || self.live != Live::No {
                true => Found::Nothing,
                false => Found::More,
            };
        };
        let now = moment.time;
        let what = moment.what.clone();
        let appears = match &what {
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
        let goal = Goal { at: stage.at, now };
        match (appears, search.direction) {
            (false, _) => Found::NotYet,
            (true, Direction::Forward) => Found::At(goal),
            (true, Direction::Back) => {
                search.found = Some(goal);
                Found::NotYet
            }
        }
    }
}

/// What one step of a search came to.
enum Found {
    NotYet,
    /// There has to be more of the recording first.
    More,
    At(Goal),
    Nothing,
    /// Not in this stretch.
    NothingHere,
}
