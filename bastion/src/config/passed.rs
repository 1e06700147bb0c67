//! Which environment variables of a client go on to a target.
//!
//! Owns the grammar of `limits.env` and what no configuration opens: variables that are known to make
//! a shell, a loader, an interpreter or a common tool run, load or trust something, or that a session
//! has from its login. No such list is whole: the target's own `AcceptEnv` is the other half.

use super::section::Field;

/// The list of `limits.env`: names, and beginnings of names that end with `_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedEnv(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Name(String),
    /// Ends with `_`; a name goes on for 1 to 32 bytes.
    Beginning(String),
}

impl PassedEnv {
    /// Whether a variable of this name is passed on. Names are ASCII, and case counts.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Name(known) => known == name,
            Pattern::Beginning(beginning) => is_continued(name, beginning),
        })
    }

    pub(super) fn read(field: Field<'_, '_>) -> Option<Self> {
        let source = field.source();
        let mut patterns = Vec::new();
        let mut fine = true;
        let (at, placed) = (field.at(), field.placed_strings()?);
        if placed.len() > PATTERNS_MAX {
            source.problem(
                at,
                format!("`limits.env` has more than {PATTERNS_MAX} names"),
            );
            return None;
        }
        for item in placed {
            match Pattern::parse(&item.value) {
                Ok(pattern) => patterns.push(pattern),
                Err(Wrong { what, hint }) => {
                    let message = format!("`limits.env` names \"{}\", {what}", item.value);
                    source.problem_with_hint(item.at, message, hint);
                    fine = false;
                }
            }
        }
        fine.then_some(Self(patterns))
    }
}

impl Default for PassedEnv {
    fn default() -> Self {
        Self(vec![
            Pattern::Name("LANG".to_owned()),
            Pattern::Beginning("LC_".to_owned()),
            Pattern::Name("COLORTERM".to_owned()),
            Pattern::Name("TZ".to_owned()),
        ])
    }
}

struct Wrong {
    what: &'static str,
    hint: &'static str,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let (name, is_beginning) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text, false),
        };
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.len() <= NAME_MAX
            && name.bytes().all(is_name_byte);
        if !is_name || (is_beginning && !name.ends_with('_')) {
            return Err(Wrong {
                what: "which is no name of a variable",
                hint: "letters, digits and _, at most 64; NAME_* for all that begin so",
            });
        }
        // The case is not what keeps a variable from being read.
        let upper = name.to_ascii_uppercase();
        if upper.starts_with("BASTION_") {
            return Err(Wrong {
                what: "which the bastion reads itself and never passes on",
                hint: "leave it out",
            });
        }
        let is_open = NEVER
            .iter()
            .any(|never| match (never.strip_suffix('*'), is_beginning) {
                // Either may be the beginning of the other.
                (Some(never), true) => upper.starts_with(never) || never.starts_with(&upper),
                (Some(never), false) => upper.starts_with(never),
                (None, true) => never.starts_with(&upper),
                (None, false) => upper == *never,
            });
        if is_open && !EXCEPT.contains(&text) {
            return Err(Wrong {
                what: "which can make a target run, load or trust something else",
                hint: "set it on the target",
            });
        }
        Ok(if is_beginning {
            Self::Beginning(name.to_owned())
        } else {
            Self::Name(name.to_owned())
        })
    }
}

/// Whether `name` is `beginning` and something after it.
pub(crate) fn is_continued(name: &str, beginning: &str) -> bool {
    name.strip_prefix(beginning).is_some_and(|rest| {
        !rest.is_empty() && rest.len() <= REST_MAX && rest.bytes().all(is_name_byte)
    })
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What no configuration passes on; with `*`, everything that begins so.
const NEVER: &[&str] = &[
    "ALL_PROXY",
    "ANSIBLE_*",
    "AWKLIBPATH",
    "AWKPATH",
    "AWS_*",
    "BASH*",
    "BROWSER",
    "BUNDLE_*",
    "CARGO*",
    "CDPATH",
    "CLASSPATH",
    "COMPILER_PATH",
    "COMPLUS_*",
    "CORECLR_*",
    "CPATH",
    "CURL_*",
    "CVS_*",
    "DOCKER_*",
    "DOTNET_*",
    "DYLD_*",
    "EDITOR",
    "EMACS*",
    "ENV",
    "ERL_*",
    "EXINIT",
    "FCEDIT",
    "FPATH",
    "GCC_*",
    "GCONV_*",
    "GEM_*",
    "GETCONF_DIR",
    "GIO_*",
    "GIT_*",
    "GLIBC_*",
    "GLOBIGNORE",
    "GNUMAKEFLAGS",
    "GOFLAGS",
    "GOOGLE_*",
    "GOPATH",
    "GOROOT",
    "GREP_OPTIONS",
    "GTK_*",
    "HG*",
    "HISTFILE",
    "HOME",
    "HOSTALIASES",
    "HTTPS_*",
    "HTTP_*",
    "IFS",
    "INPUTRC",
    "JAVA_*",
    "JDK_*",
    "KRB5*",
    "KUBECONFIG",
    "LD_*",
    "LESS*",
    "LIBPATH",
    "LIBRARY_PATH",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "LUA_*",
    "LYNX_*",
    "MAIL*",
    "MAKEFILES",
    "MAKEFLAGS",
    "MALLOC_*",
    "MANPAGER",
    "MYSQL_*",
    "NIS_PATH",
    "NLSPATH",
    "NODE_*",
    "NPM_*",
    "ODBC*",
    "OPENSSL_*",
    "ORACLE_*",
    "PAGER",
    "PATH",
    "PERL*",
    "PGHOST*",
    "PGPASS*",
    "PGSERVICE*",
    "PGSYSCONFDIR",
    "PHP*",
    "PIP_*",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "PSQL*",
    "PYTHON*",
    "QT_*",
    "RESOLV_*",
    "RES_OPTIONS",
    "RSYNC_*",
    "RUBY*",
    "RUSTC*",
    "RUST_*",
    "R_*",
    "SCREENRC",
    "SHELL*",
    "SHLIB_PATH",
    "SSH_*",
    "SSL_*",
    "SUDO_*",
    "SVN_*",
    "SYSTEMD_*",
    "TAR_OPTIONS",
    "TCL*",
    "TERMCAP",
    "TERMINFO*",
    "TMPDIR",
    "TMUX*",
    "TNS_ADMIN",
    "USER",
    "VIMINIT",
    "VISUAL",
    "WGETRC",
    "XAUTHORITY",
    "XDG_*",
    "ZDOTDIR",
];
/// What only says which protocol a client speaks (git-config(1), `protocol.version`).
const EXCEPT: &[&str] = &["GIT_PROTOCOL"];
/// Bytes of a name in the list.
const NAME_MAX: usize = 64;
/// Bytes of a name after its beginning.
const REST_MAX: usize = 32;
/// Entries of the list.
const PATTERNS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_beginnings_are_passed() {
        let passed = PassedEnv::default();
        for name in ["LANG", "LC_ALL", "LC_x", "TZ", "COLORTERM"] {
            assert!(passed.has(name), "{name}");
        }
        let longest = format!("LC_{}", "A".repeat(REST_MAX));
        assert!(passed.has(&longest) && !passed.has(&format!("{longest}A")));
        for name in ["", "LC_", "LANGUAGE", "lang", "LC_A B", "LC_A\n", "PATH"] {
            assert!(!passed.has(name), "{name:?}");
        }
    }

    #[test]
    fn what_runs_or_loads_something_is_never_passed() {
        for name in [
            "PATH",
            "path",
            "LD_PRELOAD",
            "LD_*",
            "LD_LIBRARY_PATH",
            "BASH_ENV",
            "ENV",
            "IFS",
            "PYTHONPATH",
            "PERL5LIB",
            "GIT_SSH_COMMAND",
            "GIT_*",
            "HOME",
            "SSH_AUTH_SOCK",
            "BASTION_HOLD",
            "BASTION_*",
            "L_*",
            "",
            "*",
            "_*",
            "A*",
            "A B",
            "1A",
            "LC-*",
            "P_*x",
        ] {
            let parsed = Pattern::parse(name);
            let harmless = matches!(name, "L_*");
            assert_eq!(parsed.is_ok(), harmless, "{name:?}");
        }
        assert!(Pattern::parse("GIT_PROTOCOL").is_ok());
        assert!(Pattern::parse("MYAPP_*").is_ok());
    }
}
