//! Which holds are open, shared by both streams of a channel.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rules::Hit;

/// The holds of a channel. A clone is the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Holds(Arc<Mutex<Open>>);

struct Open {
    ids: Option<Ids>,
    pty: bool,
    /// The rule whose hold everything goes into.
    owner: Option<u16>,
    /// The hold of everything that was open last: its rule and field.
    last: Option<(u16, String)>,
    /// What is shown for the values of a rule, where they are replaced in place.
    labels: BTreeMap<u16, String>,
}

/// Gives the name of a new hold of a rule.
type Ids = Box<dyn FnMut(u16) -> String + Send>;

impl Holds {
    pub(crate) fn new(pty: bool, owner: Option<u16>) -> Self {
        Self(Arc::new(Mutex::new(Open {
            ids: None,
            pty,
            owner,
            last: None,
            labels: BTreeMap::new(),
        })))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_ids(&self, ids: Ids) {
        self.open().ids = Some(ids);
    }

    /// What becomes of a held value.
    pub(crate) fn of(&self, hit: Hit) -> Held {
        let mut open = self.open();
        match open.owner {
            Some(owner) if owner == hit.rule => return Held::Clear,
            Some(_) => return Held::Redacted,
            None if !open.pty => {
                open.owner = Some(hit.rule);
                return Held::Clear;
            }
            None => {}
        }
        if let Some(label) = open.labels.get(&hit.rule) {
            return Held::Replaced {
                label: label.clone(),
                opened: false,
            };
        }
        let label = match open.ids.as_mut() {
            Some(ids) => format!("‹held {}›", ids(hit.rule)),
            None => "‹held›".to_owned(),
        };
        open.labels.insert(hit.rule, label.clone());
        Held::Replaced {
            label,
            opened: true,
        }
    }

    /// Everything goes into a hold of this rule.
    pub(crate) fn own(&self, rule: u16, field: &str) {
        let mut open = self.open();
        open.owner = Some(rule);
        open.last = Some((rule, field.to_owned()));
    }

    /// The rest of a record belongs to the hold that was open last: its rule and field.
    pub(crate) fn own_again(&self) -> Option<(u16, String)> {
        let mut open = self.open();
        let last = open.last.clone();
        if let Some((rule, _)) = last {
            open.owner = Some(rule);
        }
        last
    }

    /// Everything goes into the hold of this rule, or none is open that everything goes into.
    pub(crate) fn disown(&self, owner: Option<u16>) {
        self.open().owner = owner;
    }

    /// Whether everything goes into a hold.
    pub(crate) fn is_owned(&self) -> bool {
        self.open().owner.is_some()
    }

    /// Closes the holds of values that are replaced in place: the rules that had one.
    pub(crate) fn close(&self) -> impl Iterator<Item = u16> + use<> {
        std::mem::take(&mut self.open().labels).into_keys()
    }
}

/// What becomes of a value of a rule that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is part of its own rule's hold.
    Clear,
    /// It stands in another rule's hold.
    Redacted,
    /// The output goes on with this in its place.
    Replaced {
        label: String,
        /// With it a hold begins.
        opened: bool,
    },
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("pty", &self.pty)
            .field("owner", &self.owner)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}
