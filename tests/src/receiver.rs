//! A receiver of webhooks on loopback, which answers as a test wants.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as Queue, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::DEADLINE;

/// What is done with a message.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Answered with this status.
    Status(u16),
    /// Taken, and never answered.
    Never,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Headers, with their names in lower case.
    pub headers: Map<String, Value>,
    /// The body.
    pub body: String,
}

/// A running receiver. It takes no new message once it is dropped.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    posted: Queue<Posted>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    stop: Arc<AtomicBool>,
}

impl Receiver {
    /// One that gives these answers, and 204 from then on.
    ///
    /// # Errors
    /// No free port.
    pub fn start(answers: impl IntoIterator<Item = Answer>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, posted) = sync_channel(1000);
        let (next, seen) = (answers.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (next, sender) = (next.clone(), sender.clone());
                // A connection that breaks is the sender's business.
                std::thread::spawn(move || answer(stream, &next, &sender).ok());
            }
        });
        Ok(Self {
            port,
            posted,
            answers,
            stop,
        })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// The answers to the next messages, in place of those that were to be given.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        let mut next = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *next = answers.into_iter().collect();
    }

    /// The next message.
    ///
    /// # Errors
    /// None comes before [`DEADLINE`].
    pub fn next(&self) -> Result<Posted> {
        self.posted.recv_timeout(DEADLINE).context("a message")
    }
}

impl Posted {
    /// A header.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(Value::as_str);
        value.unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

/// One message a connection.
fn answer(
    stream: TcpStream,
    next: &Mutex<VecDeque<Answer>>,
    posted: &SyncSender<Posted>,
) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let is_post = line.starts_with("POST ");
    let mut headers = Map::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().into());
    }
    let length = headers.get("content-length").and_then(Value::as_str);
    let length: u64 = length.unwrap_or("0").parse()?;
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    let status = if is_post {
        let answer = {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            next.pop_front().unwrap_or(Answer::Status(204))
        };
        posted.send(Posted { headers, body })?;
        match answer {
            Answer::Status(status) => status,
            Answer::Never => {
                // Until the other side leaves.
                let mut stream = stream;
                std::io::copy(&mut stream, &mut std::io::sink())?;
                return Ok(());
            }
        }
    } else {
        204
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )?;
    Ok(())
}
