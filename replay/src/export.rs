//! Writing a recording as plain asciicast v2 or v3, for other players.
//!
//! Events keep their order, codes, data and times, to the microsecond. What could act on a
//! terminal is escaped in the JSON, so that even the file itself is safe to look at.

use std::io::{self, Write};

use recording::event::{Event, EventData, Header};
use serde_json::{Map, Value, json};

use crate::safe;

/// The versions that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Times since the start; asciinema 2 and 3.
    V2,
    /// Times since the event before; asciinema 3.
    V3,
}

/// Writes one recording.
pub struct Writer<W> {
    output: W,
    version: Version,
    /// The time of the last event.
    time: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// What the output says.
    pub fn new(mut output: W, version: Version, header: &Header) -> io::Result<Self> {
        let header = match version {
            Version::V2 => header_v2(header),
            Version::V3 => header_v3(header),
        };
        writeln!(output, "{}", safe::json(&header)?)?;
        Ok(Self {
            output,
            version,
            time: 0,
        })
    }

    /// Writes an event. Times must not go backwards.
    ///
    /// # Errors
    ///
    /// What the output says.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        let micros = match self.version {
            Version::V2 => event.time,
            Version::V3 => event.time.saturating_sub(self.time),
        };
        self.time = event.time;
        let (code, data) = match &event.data {
            EventData::Output(text) => ("o", safe::json(text)?),
            EventData::Input(text) => ("i", safe::json(text)?),
            EventData::Marker(label) => ("m", safe::json(label)?),
            EventData::Resize { cols, rows } => ("r", format!("\"{cols}x{rows}\"")),
            EventData::Exit(status) => ("x", format!("\"{status}\"")),
            EventData::Other { code, data } => (code.as_str(), safe::json(data)?),
        };
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let code = safe::json(&code)?;
        // Whole milliseconds, which most are, are written as such.
        match fraction % 1000 {
            0 => write!(self.output, "[{seconds}.{:03}", fraction / 1000)?,
            _ => write!(self.output, "[{seconds}.{fraction:06}")?,
        }
        writeln!(self.output, ", {code}, {data}]")
    }

    /// Hands what is buffered to the output, and gives it back.
    ///
    /// # Errors
    ///
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}

fn header_v2(header: &Header) -> Value {
    let mut map = Map::new();
    map.insert("version".into(), 2.into());
    map.insert("width".into(), header.cols.into());
    map.insert("height".into(), header.rows.into());
    common(header, &mut map);
    let mut env = header.env.clone();
    if let Some(term) = &header.term {
        env.entry("TERM".into()).or_insert_with(|| term.clone());
    }
    if !env.is_empty() {
        map.insert("env".into(), json!(env));
    }
    if !header.tags.is_empty() {
        map.insert("tags".into(), json!(header.tags));
    }
    rest(header, &mut map);
    map.into()
}

fn header_v3(header: &Header) -> Value {
    let mut map = Map::new();
    map.insert("version".into(), 3.into());
    let mut term = match header.extra.get("term") {
        Some(Value::Object(term)) => term.clone(),
        _ => Map::new(),
    };
    term.insert("cols".into(), header.cols.into());
    term.insert("rows".into(), header.rows.into());
    if let Some(name) = &header.term {
        term.insert("type".into(), name.as_str().into());
    }
    if let Some(theme) = header.extra.get("theme") {
        term.insert("theme".into(), theme.clone());
    }
    map.insert("term".into(), term.into());
    common(header, &mut map);
    if !header.env.is_empty() {
        map.insert("env".into(), json!(header.env));
    }
    if !header.tags.is_empty() {
        map.insert("tags".into(), json!(header.tags));
    }
    map.extend(
        header
            .extra
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "term" | "theme"))
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    map.into()
}

fn common(header: &Header, map: &mut Map<String, Value>) {
    let values: [(&str, Option<Value>); 4] = [
        ("timestamp", header.timestamp.map(Value::from)),
        (
            "idle_time_limit",
            header
                .idle_time_limit
                .map(|limit| limit.as_secs_f64().into()),
        ),
        ("command", header.command.clone().map(Value::from)),
        ("title", header.title.clone().map(Value::from)),
    ];
    for (key, value) in values {
        if let Some(value) = value {
            map.insert(key.into(), value);
        }
    }
}

fn rest(header: &Header, map: &mut Map<String, Value>) {
    for (key, value) in &header.extra {
        map.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;
    use recording::read::{Item, Reader};

    use super::*;

    fn data() -> impl Strategy<Value = EventData> {
        prop_oneof![
            any::<String>().prop_map(EventData::Output),
            any::<String>().prop_map(EventData::Input),
            any::<String>().prop_map(EventData::Marker),
            (1..=u16::MAX, 1..=u16::MAX).prop_map(|(cols, rows)| EventData::Resize { cols, rows }),
            any::<i32>().prop_map(EventData::Exit),
            ("[A-Za-z]{2,3}", any::<String>()).prop_map(|(code, text)| EventData::Other {
                code,
                data: json!({ "text": text, "list": [1, null] }),
            }),
            any::<String>().prop_map(|text| EventData::Other {
                code: "B".into(),
                data: text.into(),
            }),
        ]
    }

    fn header() -> Header {
        Header {
            version: 3,
            cols: 132,
            rows: 43,
            term: Some("xterm".into()),
            timestamp: Some(1_700_000_000),
            idle_time_limit: Some(Duration::from_millis(2500)),
            command: Some("a \u{1b}]0;x\u{7} b".into()),
            title: Some("\u{202e}title\u{9b}".into()),
            env: BTreeMap::from([("SHELL".into(), "/bin/sh".into())]),
            tags: vec!["one".into()],
            extra: BTreeMap::from([
                ("bastion".into(), json!({ "user": "ada" })),
                ("theme".into(), json!({ "fg": "white" })),
                ("term".into(), json!({ "version": "XTerm" })),
            ]),
        }
    }

    fn write(version: Version, header: &Header, events: &[Event]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), version, header).unwrap();
        for event in events {
            writer.event(event).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> (Header, Vec<Event>) {
        let reader = Reader::open(bytes).unwrap();
        let header = reader.header().clone();
        let events = reader.map(|item| match item {
            Item::Event(event) => event,
            Item::Warning(warning) if warning.damage == recording::read::Damage::Unfinished => {
                Event {
                    time: u64::MAX,
                    data: EventData::Exit(0),
                }
            }
            Item::Warning(warning) => panic!("{warning}"),
        });
        (
            header,
            events.filter(|event| event.time != u64::MAX).collect(),
        )
    }

    proptest! {
        #[test]
        fn both_versions_and_back_keep_every_event(
            events in proptest::collection::vec((0..10_000_000_000u64, data()), 0..20),
        ) {
            let mut time = 0;
            let events: Vec<Event> = events
                .into_iter()
                .map(|(interval, data)| {
                    time += interval;
                    Event { time, data }
                })
                .collect();
            let header = header();
            let v3 = write(Version::V3, &header, &events);
            let (header_v3, events_v3) = read(&v3);
            prop_assert_eq!(&header_v3, &header);
            prop_assert_eq!(&events_v3, &events);
            let v2 = write(Version::V2, &header_v3, &events_v3);
            let (header_v2, events_v2) = read(&v2);
            prop_assert_eq!(&events_v2, &events);
            let again = write(Version::V3, &header_v2, &events_v2);
            prop_assert_eq!(read(&again).1, events);
            for file in [v3, v2, again] {
                let text = String::from_utf8(file).unwrap();
                prop_assert!(!text.chars().any(|char| char.is_control() && char != '\n'));
                let turned = text.contains('\u{202e}');
                prop_assert!(!turned);
            }
        }
    }
}
