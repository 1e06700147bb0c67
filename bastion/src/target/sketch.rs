//! An inventory without keys, for people who try policies out: nothing in it can be dialled, since
//! no target of it has a host key.

use std::path::Path;
use std::sync::Arc;

use super::{
    Address, Credential, HostKeys, Inventory, LOGIN_NAME_MAX, Login, TARGET_NAME_MAX, Target,
    is_name,
};
use crate::config::section::{Field, Section, Source};
use crate::config::{Problem, Problems, read_text};
use crate::record::Bulk;

/// What policies know of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sketch {
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) logins: Vec<String>,
}

impl Inventory {
    /// An inventory of these targets. Of two with one name the later stands.
    pub(crate) fn sketch(targets: impl IntoIterator<Item = Sketch>) -> Self {
        let targets = targets
            .into_iter()
            .map(|sketch| (sketch.name.clone(), Arc::new(Target::sketch(sketch))))
            .collect();
        Self { targets }
    }

    /// Names, labels and logins of `targets.toml`; keys and passwords that it names are not read.
    ///
    /// # Errors
    ///
    /// Every mistake in those.
    pub(crate) fn sketch_of(path: &Path) -> Result<Self, Problems> {
        let text = read_text(path, super::FILE_MAX)
            .map_err(|error| Problem::of_file(path, error.to_string()))?;
        let source = Source::new(path, &text);
        let mut root = source.root();
        let sketches: Vec<Sketch> = root
            .take("target")
            .and_then(Field::sections)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|mut section| {
                let sketch = Sketch::read_inventory(&mut section);
                // Addresses, keys and credentials are not this one's business.
                drop(section.rest());
                sketch
            })
            .collect();
        source.finish(Some(Self::sketch(sketches)))
    }
}

impl Target {
    fn sketch(sketch: Sketch) -> Self {
        Self {
            name: sketch.name,
            address: Address {
                host: "sketch.invalid".to_owned(),
                port: 22,
            },
            host_keys: HostKeys::new(Vec::new(), Vec::new()),
            bulk: Bulk::Full,
            labels: sketch.labels,
            logins: sketch
                .logins
                .into_iter()
                .map(|name| Login {
                    name,
                    credential: Credential::Certificate,
                })
                .collect(),
        }
    }
}

impl Sketch {
    /// `name`, `labels = [...]` and `logins = [...]` of a test file's `[[target]]`.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let name = name_of(&mut section, TARGET_NAME_MAX);
        let labels = strings(&mut section, "labels");
        let logins = section.required("logins").and_then(Field::strings);
        section.finish();
        Some(Self {
            name: name?,
            labels: labels?,
            logins: logins?,
        })
    }

    fn read_inventory(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = name_of(section, TARGET_NAME_MAX);
        let labels = strings(section, "labels");
        let logins = section.take("login").and_then(Field::sections)?;
        let logins = logins
            .into_iter()
            .filter_map(|mut login| name_of(&mut login, LOGIN_NAME_MAX))
            .collect();
        Some(Self {
            name: name?,
            labels: labels?,
            logins,
        })
    }
}

fn strings(section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<String>> {
    section.take(key).map_or(Some(Vec::new()), Field::strings)
}

fn name_of(section: &mut Section<'_, '_>, max: usize) -> Option<String> {
    let field = section.required("name")?;
    let (at, source) = (field.at(), field.source());
    let name = field.string()?;
    if is_name(&name, max) {
        return Some(name);
    }
    source.problem(at, format!("\"{name}\" cannot be a name"));
    None
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use super::*;

    #[test]
    fn a_sketch_knows_names_and_no_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("targets.toml");
        std::fs::write(
            &path,
            "[[target]]\nname = \"db\"\naddress = \"db:22\"\nhost_keys = [\"nonsense\"]\nlabels = [\"prod\"]\n\
             [[target.login]]\nname = \"postgres\"\nkey = \"/nowhere\"\n",
        )
        .unwrap();
        let inventory = Inventory::sketch_of(&path).unwrap();
        let target = inventory.target("db").unwrap();
        assert_eq!(target.labels(), ["prod"]);
        assert!(target.login("postgres").is_some());
        std::fs::write(&path, "[[target]]\nname = \"-\"\n").unwrap();
        assert!(
            Inventory::sketch_of(&path)
                .unwrap_err()
                .to_string()
                .contains(":2:8: ")
        );
    }
}
