//! stub
use scanner::{Masked, Stream};
use std::{fmt, net::IpAddr, path::Path, str::FromStr};
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionId(String);
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for SessionId {
    type Err = ();
    fn from_str(_: &str) -> Result<Self, ()> {
        Err(())
    }
}
#[derive(Clone)]
pub struct Recorder;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct RecordError;
impl RecordError {
    pub fn notice(&self) -> &'static str {
        ""
    }
}
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Shell,
    Exec,
    Sftp,
}
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
pub struct About {
    pub user: String,
    pub issuer: String,
    pub subject: String,
    pub target: String,
    pub login: String,
    pub kind: Kind,
    pub command: Option<Vec<u8>>,
    pub pty: Option<(u16, u16)>,
    pub term: Option<String>,
    pub source: IpAddr,
    pub connection: String,
}
pub struct End {
    pub status: Option<u32>,
    pub coverage: scanner::Coverage,
    pub reason: Option<String>,
}
#[derive(Clone)]
pub struct Summary {
    pub id: SessionId,
    pub user: String,
    pub issuer: String,
    pub subject: String,
    pub target: String,
    pub login: String,
    pub kind: Kind,
    pub command: Option<String>,
    pub started: jiff::Timestamp,
    pub ended: Option<jiff::Timestamp>,
    pub active: bool,
    pub status: Option<u32>,
    pub bytes: u64,
}
impl Recorder {
    pub async fn spawn_embedded(
        _: &Path,
        _: &Path,
        _: crate::config::RecordingSync,
    ) -> Result<Self, RecordError> {
        Ok(Self)
    }
    pub async fn connect(_: &Path) -> Result<Self, RecordError> {
        Ok(Self)
    }
    pub async fn start(&self, _: About) -> Result<Recording, RecordError> {
        Ok(Recording)
    }
    pub async fn list(&self) -> Result<Vec<Summary>, RecordError> {
        Ok(vec![])
    }
    pub async fn read(&self, _: &SessionId) -> Result<tokio::io::Empty, RecordError> {
        Ok(tokio::io::empty())
    }
    pub async fn close(self) {}
}
pub struct Recording;
#[derive(Clone)]
pub struct Acknowledged;
impl Recording {
    pub fn id(&self) -> SessionId {
        SessionId(String::new())
    }
    pub async fn output(&mut self, _: Stream, _: &Masked) -> Result<u64, RecordError> {
        Ok(0)
    }
    pub fn acknowledged(&self) -> Acknowledged {
        Acknowledged
    }
    pub async fn resize(&mut self, _: u16, _: u16) -> Result<(), RecordError> {
        Ok(())
    }
    pub async fn end(self, _: End) -> Result<(), RecordError> {
        Ok(())
    }
}
impl Acknowledged {
    pub async fn reached(&mut self, _: u64) -> Result<(), RecordError> {
        Ok(())
    }
    pub async fn lost(&mut self) -> RecordError {
        std::future::pending().await
    }
}
