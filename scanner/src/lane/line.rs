//! What a line is, told from its first bytes, and what it says about those that follow.

use crate::rules::{Hit, Rules};
use crate::table::{self, Kind, Listing, Table};

use super::delimited::{Doubt, is_strict};
use super::recall::Recalled;
use super::sql::column;
use super::{Frame, Inner, LINE_CONTEXT, Lane, Row, first_char, pair};

impl Lane {
    /// Looks at the first bytes of a line. Whether it can be told what the line is.
    pub(super) fn start(&mut self, end: bool) -> bool {
        if self.pos >= self.view.text.len() {
            return false;
        }
        self.line = self.pos;
        self.line_cut = false;
        self.changed = None;
        self.joins = None;
        self.told = false;
        self.names = None;
        if self.table.is_none() {
            self.broken = None;
            self.torn = false;
            self.parts = 0;
        }
        if self.inner != Inner::Text {
            self.frame = Frame::Line;
            return true;
        }
        self.lists_go_on();
        if !self.within_goes_on(end) {
            return false;
        }
        if self.inner != Inner::Text {
            self.frame = Frame::Line;
            return true;
        }
        if !self.data_goes_on(end) {
            return false;
        }
        if let Some(block) = self.block {
            match self.in_block(block, end) {
                None => return false,
                Some(true) => {
                    self.frame = Frame::Block;
                    return true;
                }
                Some(false) => {}
            }
        }
        match self.recall(end) {
            Recalled::Wait => return false,
            Recalled::Row => {
                self.begin_row();
                return true;
            }
            Recalled::Text => {
                self.frame = Frame::Line;
                return true;
            }
            Recalled::Unknown => {}
        }
        if self.is_painted() {
            self.frame = Frame::Painted;
            return true;
        }
        if self.table.is_none() {
            match self.begins_netrc(end) {
                None => return false,
                Some(true) => {
                    self.frame = Frame::Block;
                    return true;
                }
                Some(false) => {}
            }
        }
        if self.table.as_ref().is_some_and(|t| t.record && t.rows == 0) {
            match self.goes_on_as_record(end) {
                None => return false,
                Some(true) => self.table = None,
                Some(false) => {}
            }
        }
        if self.table.is_none() {
            match self.begins_setting(end) {
                None => return false,
                Some(true) => {
                    self.frame = Frame::Line;
                    return true;
                }
                Some(false) => {}
            }
        }
        if let Some(kind) = self.table.as_ref().map(|t| t.kind) {
            match self.may_be_row(kind, end) {
                None => {
                    self.lead = self.row_lead();
                    return false;
                }
                Some(true) => {
                    self.begin_row();
                    return true;
                }
                Some(false) => {}
            }
        }
        self.frame = Frame::Line;
        true
    }

    /// The line is a row of the table.
    pub(super) fn begin_row(&mut self) {
        self.stop_at_row();
        self.keep_before_row();
        let key = self.row.key;
        let open = self.open_column().filter(|_| self.broken.is_none());
        let broken = self.broken.take().or(open);
        // While a quote may be open, nobody knows what a cell is.
        let doubt = if self.torn {
            Doubt::Cells(0, usize::MAX)
        } else {
            Doubt::Uncounted
        };
        self.row = Row {
            doubt,
            cell: self.pos,
            scan: self.pos,
            spaces: 2,
            key,
            broken,
            rest: open.is_some(),
            counted: self.pos,
            ..Row::default()
        };
        self.frame = Frame::Row;
    }

    /// A table with a held column is held from its first data row, also where the cell is empty.
    fn stop_at_row(&mut self) {
        let cols = self.table.iter().flat_map(|t| &t.cols).map(|c| c.hit);
        let held = self.held_column(cols);
        self.stop_before(self.pos, held);
    }

    /// The first of these columns that a rule withholds, where records are.
    pub(super) fn held_column(&self, mut cols: impl Iterator<Item = Option<Hit>>) -> Option<Hit> {
        if !self.rules.may_hold() || self.pty {
            return None;
        }
        let compiled = self.rules.compiled();
        cols.find_map(|hit| hit.filter(|hit| compiled.holds(*hit)))
    }

    /// What stands at `at` belongs to a record that is withheld.
    pub(super) fn stop_before(&mut self, at: usize, held: Option<Hit>) {
        if let Some(hit) = held {
            self.pass_to(at);
            self.sink.stop(&self.rules, hit);
        }
    }

    /// Whether the line may be a row of the table, as far as its first bytes say.
    fn may_be_row(&self, kind: Kind, end: bool) -> Option<bool> {
        let rest = self.text().get(self.pos..)?;
        let Some(&first) = rest.first() else {
            return end.then_some(false);
        };
        // The rest of a row begins with anything, also with an empty line.
        let goes_on = self.broken.is_some() || self.open_column().is_some();
        if goes_on && matches!(kind, Kind::Delimited { .. }) {
            return is_footer(rest, end).map(|footer| !footer);
        }
        if matches!(first, b'\n' | b'\r') {
            return Some(false);
        }
        match kind {
            Kind::Delimited { by, lead, .. } => {
                let spaces = rest.iter().take(64).take_while(|b| **b == b' ').count();
                let head = rest.get(spaces..).unwrap_or_default();
                let first = match head.first() {
                    None if !end => return None,
                    first => first.copied().unwrap_or(b' '),
                };
                if lead {
                    return Some(first == b'|');
                }
                if first == b'\\' && by == b'\t' {
                    return match (rest.get(1), rest.get(2)) {
                        (None, _) | (Some(b'.'), None) if !end => None,
                        (Some(b'.'), None | Some(b'\n' | b'\r')) => Some(false),
                        _ => Some(true),
                    };
                }
                if first == b'@' && spaces == 0 {
                    match begins_hunk(rest, end) {
                        Some(false) => {}
                        other => return other.map(|other| !other),
                    }
                }
                if by == b',' {
                    let cols = self.table.as_ref().map_or(0, |table| table.columns);
                    match is_statement(rest, cols, end) {
                        Some(false) => {}
                        other => return other.map(|other| !other),
                    }
                }
                match first {
                    b'\n' | b'\r' => Some(false),
                    _ if by == 0 => Some(spaces == 0 && !opens_bracket(first)),
                    _ if by == b' ' => Some(!opens_bracket(first)),
                    _ if opens_bracket(first) => self.may_be_cell(head, by, end),
                    _ => Some(true),
                }
            }
            Kind::Aligned { boxed: true } => {
                // ClickHouse numbers its rows: `12. │`.
                let number = rest.iter().take(24).take_while(|b| **b == b' ').count();
                let digits = rest.iter().skip(number).take(24);
                let size = digits.take_while(|b| b.is_ascii_digit()).count();
                let rest = match (size, rest.get(number + size), rest.get(number + size + 1)) {
                    (0, ..) => rest,
                    (_, None, _) | (_, Some(b'.'), None) if !end => return None,
                    (_, Some(b'.'), Some(b' ')) => {
                        rest.get(number + size + 1..).unwrap_or_default()
                    }
                    _ => rest,
                };
                let first = rest.first().copied().unwrap_or(first);
                let rest =
                    if rest.iter().take(64).all(|b| matches!(b, b' ')) && rest.len() < 64 && !end {
                        return None;
                    } else {
                        rest
                    };
                let dashes = rest.iter().take(64).find(|b| !matches!(b, b' ' | b'|'));
                if rest.contains(&b'|') || first == b'|' {
                    match dashes {
                        None if !end && rest.len() < 64 => return None,
                        Some(b'-' | b':') => {
                            let at = rest
                                .iter()
                                .position(|b| matches!(b, b'-' | b':'))
                                .unwrap_or(0);
                            match rest.get(at + 1) {
                                None if !end => return None,
                                Some(b'-') => match goes_on_as_rule(rest, end) {
                                    Some(false) => {}
                                    rule => return rule.map(|rule| !rule),
                                },
                                _ => {}
                            }
                        }
                        _ => {}
                    }
                }
                let spaces = rest.iter().take(64).take_while(|b| **b == b' ').count();
                let head = rest.get(spaces..).unwrap_or_default();
                if head.first().is_some_and(|b| *b < 0x80) {
                    return Some(head.first() == Some(&b'|'));
                }
                if head.len() < 3 && !end {
                    return None;
                }
                Some(first_char(head).is_some_and(table::is_separator))
            }
            Kind::Aligned { boxed: false } | Kind::Ruled | Kind::Spaced => {
                if first == b'-' || first == b':' && kind != Kind::Spaced {
                    return match rest.get(1) {
                        None if !end => None,
                        Some(b'-' | b'+') => goes_on_as_rule(rest, end).map(|rule| !rule),
                        _ => Some(true),
                    };
                }
                if first == b'(' {
                    return is_footer(rest, end).map(|footer| !footer);
                }
                // JSON below a header is no row of it.
                if first == b'{' && kind == Kind::Spaced {
                    return match rest.get(1) {
                        None if !end => None,
                        next => Some(next != Some(&b'"')),
                    };
                }
                Some(first != b'+')
            }
            Kind::Expanded0 => Some(!matches!(first, b'*' | b' ')),
            Kind::Expanded => {
                let c = if first < 0x80 {
                    Some(char::from(first))
                } else if rest.len() < 3 && !end {
                    return None;
                } else {
                    first_char(rest)
                };
                Some(!matches!(
                    c,
                    Some(
                        '-' | '─'
                            | '━'
                            | '═'
                            | '('
                            | '┌'
                            | '├'
                            | '└'
                            | '+'
                            | '*'
                            | '╔'
                            | '╠'
                            | '╚'
                    )
                ))
            }
            Kind::Latex => Some(true),
            Kind::Asciidoc => {
                if first == b'|' {
                    return match rest.get(1) {
                        None if !end => None,
                        Some(b'=') => Some(false),
                        _ => Some(true),
                    };
                }
                let goes_on = self.broken.is_some();
                Some(goes_on || matches!(first, b'<' | b'>' | b'^'))
            }
        }
    }

    /// How much may leave of a line of which nobody knows yet whether it is a row: a colon with which
    /// a pager asks, or the mark of a hunk, where they stand in no protected column.
    fn row_lead(&self) -> usize {
        let first = self.table.as_ref().and_then(|table| table.cols.first());
        let asks = matches!(self.byte(self.pos), Some(b':' | b'@'));
        usize::from(asks && first.is_none_or(|col| col.hit.is_none()))
    }

    /// Whether a line below the first one in a box is the next of a record: it begins with a word, as
    /// few values are.
    fn goes_on_as_record(&self, end: bool) -> Option<bool> {
        let rest = self.slice(self.pos, self.view.text.len());
        let near = rest.get(..LINE_CONTEXT).unwrap_or(rest);
        let text = String::from_utf8_lossy(near);
        let text = text.trim_start_matches(' ');
        let Some(inner) = text.strip_prefix(table::is_separator) else {
            let more = text.len() < 3 && !end && near.len() < LINE_CONTEXT;
            return (!more).then_some(false);
        };
        let Some((cell, _)) = inner.split_once(|c| table::is_separator(c) || c == '\n') else {
            return (end || near.len() == LINE_CONTEXT).then_some(false);
        };
        let cell = cell.trim();
        let word = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b'.' | b' ');
        let named = || self.rules.compiled().field(cell.as_bytes()).is_some();
        Some(!cell.is_empty() && (cell.bytes().all(word) || named()))
    }

    /// Whether a line that begins like JSON or XML is a row: it has as many cells as its header,
    /// and is nothing of several lines.
    fn may_be_cell(&self, line: &[u8], by: u8, end: bool) -> Option<bool> {
        // A prompt (`[root@db ~]# `, `[1] # `, `<enter> `) is not waited for, whatever it is.
        match (line.first(), line.get(1)) {
            (Some(b'['), None) if !end => return None,
            (
                Some(b'['),
                Some(b'"' | b'\'' | b'[' | b'{' | b']' | b'-' | b' ' | b'0'..=b'9' | b'\r' | b'\n'),
            ) => {}
            (Some(b'['), _) => return Some(true),
            _ => {}
        }
        let near = line.get(..LINE_CONTEXT).unwrap_or(line);
        let size = memchr::memchr(b'\n', near);
        let line = near.get(..size.unwrap_or(near.len())).unwrap_or_default();
        let close = if line.first() == Some(&b'<') {
            b'>'
        } else {
            b']'
        };
        if matches!(line.first(), Some(b'[' | b'<'))
            && let Some(at) = memchr::memchr(close, line)
            && line.get(at + 1) == Some(&b' ')
        {
            return Some(true);
        }
        if size.is_none() && near.len() < LINE_CONTEXT && !end {
            return None;
        }
        let cells = line.split(|b| *b == by).count();
        let cols = self.table.as_ref().map_or(0, |table| table.columns);
        if !is_strict(by) {
            return Some(cells >= cols || size.is_none() && cells > 1);
        }
        let first = line.split(|b| *b == by).next().unwrap_or_default();
        let whole = depth(first) == 0;
        // A quote goes on in the next line.
        if whole && memchr::memchr_iter(b'"', line).count() % 2 == 1 {
            return Some(true);
        }
        let bare = memchr::memchr3(b'"', b'\'', b':', first).is_none();
        let closers = line.iter().all(|b| {
            matches!(
                b,
                b'{' | b'}' | b'[' | b']' | b'(' | b')' | b' ' | b':' | b'\r'
            ) || *b == by
        });
        let ends = matches!(line.trim_ascii_end().last(), Some(b'}' | b']' | b'>'));
        Some(
            (whole || bare && !closers)
                && (cells == cols || cells > cols && !ends || size.is_none() && whole),
        )
    }

    /// A line ends at `at`, which is its newline or the end of the text.
    pub(super) fn end_line(&mut self, at: usize) {
        self.sink.row += 1;
        let from = self.line;
        let cut = self.line_cut;
        let mut to = at;
        if to > from && self.byte(to - 1) == Some(b'\r') {
            to -= 1;
        }
        let was_row = self.frame == Frame::Row && self.row.is_row;
        if !self.rules.compiled().fields.is_empty() {
            self.created(from, at);
        }
        self.inserts = self
            .inserts
            .and_then(|(hit, lines)| Some((hit, lines.checked_sub(1)?)));
        if self.inserts.is_none() {
            self.params.clear();
            self.args.clear();
        }
        if let Some(hit) = self.violated(from, to) {
            self.inserts = Some((hit, 2));
        }
        let above = self.above;
        self.above = (!cut && to - from <= LINE_CONTEXT).then_some((from, to));
        self.row.ragged &= self.frame == Frame::Row;
        let no_row = self.frame == Frame::Row && !self.row.is_row && self.row.index == 0;
        if (self.frame == Frame::Line || no_row) && !self.rules.compiled().fields.is_empty() {
            if cut || to - from > LINE_CONTEXT {
                self.long_line(to);
            } else {
                self.inserted(from, to, above);
            }
        }
        self.frame = Frame::Start;
        self.joined(to);
        self.within_line_ends(to);
        let long = cut || to - from > LINE_CONTEXT;
        if was_row || long || self.rules.compiled().fields.is_empty() {
            self.section = None;
        } else {
            self.section_line(from, to);
        }
        self.data_line(from, to);
        self.note_painted(at);
        if was_row {
            if let Some(table) = &mut self.table {
                table.rows += 1;
                table.misses = 0;
            }
            return;
        }
        if std::mem::take(&mut self.told)
            || cut
            || to - from > LINE_CONTEXT
            || self.rules.compiled().fields.is_empty()
        {
            return;
        }
        self.numbered(from, to);
        self.form_part(from, to, above);
        self.opens_body(from, to);
        // A move of the cursor ends a line, but no table.
        if self.painted && self.slice(from, to).iter().all(u8::is_ascii_whitespace) {
            return;
        }
        self.look_at_line(from, to, above);
    }

    /// What a whole line that was no row says about those that follow.
    fn look_at_line(&mut self, from: usize, to: usize, above: Option<(usize, usize)>) {
        if self.values.is_some() || self.is_plain_line(from, to) {
            return;
        }
        let rules = self.rules.clone();
        let compiled = rules.compiled();
        let line = self.slice(from, to).to_vec();
        let line = self.whole(&line);
        // A byte order mark, as files of Windows begin.
        let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        let mut found = None;
        if line.iter().all(u8::is_ascii_whitespace) {
            if let Some(table) = &self.table {
                let keep = matches!(
                    table.kind,
                    Kind::Aligned { boxed: true } | Kind::Latex | Kind::Asciidoc
                ) && table.misses == 0
                    || matches!(table.kind, Kind::Expanded | Kind::Expanded0)
                    || (table.kind == Kind::Ruled
                        && table.rows > 0
                        && above.is_some_and(|(a, b)| b > a));
                if !keep && !self.sleeps() {
                    self.table = None;
                }
            }
            self.pair = None;
            self.body = false;
            self.framed = None;
            self.listing = None;
            return;
        }
        let rule = table::is_rule(line);
        let piped = has_bars(line);
        let lined = self.in_listing(line, rule, piped, above);
        if !rule && !piped {
            self.body = false;
        } else if rule && self.table.is_none() {
            // Rows follow, of a table whose header names nothing that is protected.
            self.body = above.is_some_and(|(a, b)| {
                let above = self.slice(a, b);
                !table::is_rule(above)
                    && String::from_utf8_lossy(above)
                        .split(table::is_separator)
                        .count()
                        > if first_char(above).is_some_and(table::is_separator) {
                            3
                        } else {
                            1
                        }
            });
        }
        // The first line in a box may be a header: a line follows it then. In a record none does.
        let record = self.framed.is_some_and(|rows| rows > u32::from(rule))
            && self.table.is_none()
            && (rule || above.is_some_and(|(a, b)| table::is_boxed_pair(self.slice(a, b))));
        self.in_frame(line, rule, piped, above);
        let alike =
            rule && above.is_some_and(|(a, b)| has_bars_at_same_places(self.slice(a, b), line));
        if rule
            && line.contains(&b'|')
            && !line.contains(&b'+')
            && let Some(table) = &mut self.table
            && table.kind == (Kind::Aligned { boxed: false })
            && table.rows == 0
            && !alike
        {
            // Markdown without bars around it: nothing has to be aligned.
            table.kind = Kind::Delimited {
                by: b'|',
                quote: 0,
                lead: false,
            };
        }
        if rule {
            if let Some((a, b)) = above {
                let header = self.slice(a, b);
                let single = self
                    .table
                    .as_ref()
                    .is_none_or(|t| t.rows == 0 && t.kind == Kind::Spaced || t.dormant.is_some());
                if single && !lined {
                    found = table::ruled(compiled, header, line);
                    // One line under several names says nothing of where they stand.
                    let names = self.table.as_ref().map_or(0, |t| t.cols.len());
                    if found.as_ref().is_some_and(Table::is_single) && names > 1 {
                        found = None;
                    }
                    if found.as_ref().is_some_and(Table::is_single)
                        && !header.starts_with(b" ")
                        && line.len() < 3
                    {
                        found = None;
                    }
                }
                if line.starts_with(b"|-") && !table::is_rule(header) {
                    self.next_markdown(a, b);
                    return;
                }
                let piped =
                    self.table.is_none() && found.is_none() && !lined && header.contains(&b'|');
                if piped && line.contains(&b'+') && !table::is_rule(header) {
                    found = table::piped_above_rule(compiled, header);
                }
            }
        } else if is_record(line) {
            found = Some(Table::expanded(line.starts_with(b"*")));
        } else {
            let pairs = above.is_some_and(|(a, b)| {
                let one = |l: &[u8]| l.iter().filter(|b| **b == b'|').count() == 1;
                let above = self.slice(a, b);
                one(above) && one(line) && !table::is_rule(above)
            });
            found = if self.body || pairs || self.listing.is_some() {
                None
            } else {
                table::header(compiled, line)
            }
            .or_else(|| copied(&rules, line))
            .or_else(|| self.single_column(line));
        }
        if record && found.as_ref().is_some_and(Table::names_its_row) {
            found = None;
        }
        // One of a list of names and values is no header.
        if found
            .as_ref()
            .is_some_and(|t| t.kind == Kind::Spaced && t.names_its_row())
            && above.is_some_and(|(a, b)| pair::is_below(self.slice(a, b), line))
        {
            found = None;
        }
        if let Some(table) = &mut found {
            let boxed = table.kind == Kind::Aligned { boxed: true };
            table.record = boxed && !rule && self.framed.is_some() && table.names_its_row();
        }
        if found.is_some() {
            self.row.key = None;
            self.table = found;
            self.remember();
            return;
        }
        if rule {
            return;
        }
        if let Some(table) = self.table.as_mut().filter(|_| !self.row.ragged) {
            table.misses += 1;
            if let Some(lines) = &mut table.dormant {
                *lines += 1;
                if *lines > DORMANT_MAX || line.starts_with(b"(") && line.ends_with(b")") {
                    self.table = None;
                }
                return;
            }
            let footer = line.starts_with(b"(") && line.ends_with(b")");
            let tolerated = match table.kind {
                Kind::Aligned { .. }
                | Kind::Expanded
                | Kind::Expanded0
                | Kind::Latex
                | Kind::Asciidoc => 32,
                Kind::Delimited { .. } | Kind::Spaced | Kind::Ruled => 3,
            };
            if footer || table.misses > tolerated {
                self.table = None;
            }
        }
        let ends: [&[u8]; 3] = [b"</", b"\\.", b"\\end{"];
        if ends.iter().any(|word| line.starts_with(word)) {
            self.table = None;
        }
    }

    /// The row from `a` to `b`, which a line follows, may be the header of the next table.
    fn next_markdown(&mut self, a: usize, b: usize) {
        let rules = self.rules.clone();
        let boxed = |t: &&mut Table| t.rows > 0 && t.kind == Kind::Aligned { boxed: true };
        let Some(next) = table::header(rules.compiled(), self.slice(a, b)) else {
            return;
        };
        match self.table.as_mut().filter(boxed) {
            Some(table) if table.columns == next.columns => table.join(next),
            Some(table) if next.kind == table.kind => *table = next,
            _ => {}
        }
    }

    /// Follows a list of names and values, and a box that has a line under each row. Whether the row
    /// above is one behind the first such row: it is no header.
    fn in_listing(
        &mut self,
        line: &[u8],
        rule: bool,
        piped: bool,
        above: Option<(usize, usize)>,
    ) -> bool {
        if !rule {
            let row = match self.listing {
                Some(Listing::Bars) => piped,
                Some(Listing::Spaces) => memchr::memmem::find(line, b"  ").is_some(),
                None => false,
            };
            self.listing = self.listing.filter(|_| row);
            let below = above.is_some_and(|(a, b)| table::is_rule(self.slice(a, b)));
            if !piped || !below {
                self.lined = 0;
            }
            return false;
        }
        let above = above.map(|(a, b)| self.slice(a, b)).unwrap_or_default();
        let row = has_bars(above) && !table::is_rule(above);
        let heads = table::heads_values(above);
        // The title of a box stands between two lines, too, and no row above its header does.
        let many = row && bars(above) > 2;
        let lined = self.table.is_none() && many && self.lined > 0;
        self.lined = if many && self.table.is_none() {
            self.lined + 1
        } else {
            0
        };
        let goes_on = self.listing.filter(|_| row);
        self.listing = heads.or(goes_on).filter(|_| self.table.is_none());
        lined
    }

    /// Follows a box from its first line on, up to where it says that it is a table, or ends.
    fn in_frame(&mut self, line: &[u8], rule: bool, piped: bool, above: Option<(usize, usize)>) {
        if !rule {
            self.framed = self
                .framed
                .filter(|_| piped)
                .map(|rows| rows.saturating_add(1));
            return;
        }
        let begins = above.is_none_or(|(a, b)| {
            let above = self.slice(a, b);
            table::is_border(above) || !has_bars(above)
        });
        self.framed = (begins && table::is_border(line)).then_some(0);
        if let Some(table) = &mut self.table {
            table.record = false;
        }
        // Another box begins: its first row is a header of its own.
        let boxed = |t: &Table| t.kind == Kind::Aligned { boxed: true } || t.names_its_row();
        if self.framed.is_some() && self.table.as_ref().is_some_and(boxed) {
            self.table = None;
        }
    }

    /// An empty line may stand in a cell, where nothing is quoted: rows may come behind it.
    fn sleeps(&mut self) -> bool {
        let may = |table: &&mut Table| {
            let Kind::Delimited { by, lead, .. } = table.kind else {
                return false;
            };
            !lead && !is_strict(by) && !matches!(by, 0 | b' ') && table.columns > 2
        };
        match self.table.as_mut().filter(may) {
            Some(table) => {
                table.dormant = Some(table.dormant.map_or(0, |lines| lines + 1));
                table.dormant.is_some_and(|lines| lines <= DORMANT_MAX)
            }
            None => false,
        }
    }

    /// Whether a line says nothing about those that follow, told without a closer look.
    fn is_plain_line(&self, from: usize, to: usize) -> bool {
        let rows = self.body || self.framed.is_some() || self.listing.is_some();
        if self.table.is_some() || rows || self.creating.is_some() {
            return false;
        }
        let line = self.slice(from, to);
        let Some(start) = line.iter().position(|b| !b.is_ascii_whitespace()) else {
            return false;
        };
        match line.get(start) {
            Some(b'-' | b'+' | b'=' | b'|' | b':' | b'*' | b'^' | b'\\' | b'<' | 0xe2) | None => {
                return false;
            }
            Some(b'2' | b'C' | b'c') => return false,
            // No header begins so.
            Some(_) if table::begins_oddly(line) || table::prefix(line).is_some() => {}
            Some(
                b'{'
                | b'}'
                | b'('
                | b')'
                | b'/'
                | b'.'
                | b','
                | b';'
                | b'0'..=b'9'
                | b'['
                | b'>'
                | b'$'
                | b'@',
            ) => return !line.contains(&b'|'),
            Some(_) => {}
        }
        // Something has to stand between names, where there is more than one word.
        if memchr::memchr(b' ', line).is_some()
            && memchr::memchr3(b'\t', b',', b';', line).is_none()
            && memchr::memchr3(b'|', 0xe2, b'^', line).is_none()
            && memchr::memchr3(b'~', 0x1f, 0x01, line).is_none()
            && memchr::memchr2(b'&', b'"', line).is_none()
            && !line
                .iter()
                .zip(line.iter().skip(1))
                .fold(false, |found, (a, b)| found | ((*a == b' ') & (*b == b' ')))
        {
            return true;
        }
        // A protected name has to stand in it.
        let name = line
            .split(|b| !crate::name::is_word(*b))
            .any(|word| self.rules.compiled().may_end(word));
        !name
    }

    /// A line that is nothing but a protected name may be the header of a single column.
    fn single_column(&self, line: &[u8]) -> Option<Table> {
        let name = line;
        if name.len() > 64
            || !name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
            || self.table.as_ref().is_some_and(|t| !may_end_alone(t))
        {
            return None;
        }
        self.rules.compiled().field(name).map(Table::single)
    }
}

/// Whether a line that is nothing but a name may be the header of the next result: nothing else
/// stands between those of CSV and of `mysql -B`.
fn may_end_alone(table: &Table) -> bool {
    let quoted = matches!(
        table.kind,
        Kind::Delimited {
            by: b',' | b';' | b'\t',
            lead: false,
            ..
        }
    );
    table.dormant.is_some() || quoted && table.rows > 0
}

/// Whether a line that begins like a rule is one up to its end; `None`: more is needed.
fn goes_on_as_rule(line: &[u8], end: bool) -> Option<bool> {
    let near = line.get(..LINE_CONTEXT).unwrap_or(line);
    let other = near
        .iter()
        .find(|b| !matches!(b, b'-' | b'+' | b'|' | b' ' | b':' | b'=') && !(0x80..).contains(*b));
    match other {
        Some(b) => Some(matches!(b, b'\n' | b'\r')),
        None => (end || near.len() == LINE_CONTEXT).then_some(true),
    }
}

/// Whether a line begins like a hunk of `diff`, which may repeat the header; `None`: more is needed.
fn begins_hunk(line: &[u8], end: bool) -> Option<bool> {
    let mark = b"@@ -";
    let size = mark.len().min(line.len());
    if line.get(..size) != mark.get(..size) {
        return Some(false);
    }
    match line.get(mark.len()) {
        None => end.then_some(false),
        Some(b) => Some(b.is_ascii_digit()),
    }
}

/// Whether a line is a whole `INSERT` or `COPY`, and no row of CSV with so many columns; `None`: more
/// is needed.
fn is_statement(line: &[u8], cols: usize, end: bool) -> Option<bool> {
    let begins = |word: &[u8]| {
        let size = word.len().min(line.len());
        let same = line.get(..size).zip(word.get(..size));
        same.is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
            .then_some(size == word.len())
    };
    match begins(b"insert into ").or_else(|| begins(b"copy ")) {
        None => return Some(false),
        Some(false) => return (end).then_some(false),
        Some(true) => {}
    }
    let near = line.get(..LINE_CONTEXT).unwrap_or(line);
    let size = memchr::memchr(b'\n', near);
    if size.is_none() && near.len() < LINE_CONTEXT && !end {
        return None;
    }
    let Some(line) = near.get(..size.unwrap_or(near.len())) else {
        return Some(false);
    };
    // A row is the fast path's, whatever it begins with.
    if line.split(|b| *b == b',').count() == cols {
        return Some(false);
    }
    let copies = line.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'c'));
    Some(if copies {
        is_copy(line)
    } else {
        is_insert(line)
    })
}

/// `COPY a.b (c, d) FROM stdin;` and nothing more.
fn is_copy(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let tail = line.get(4..).and_then(target);
    tail.and_then(|(listed, rest)| word(rest, b"from").filter(|_| listed))
        .and_then(|rest| word(rest, b"stdin"))
        .is_some_and(|rest| rest == b";")
}

/// `INSERT INTO a.b (c, d) VALUES`, and perhaps lists of values up to a semicolon.
fn is_insert(line: &[u8]) -> bool {
    let tail = line.get(11..).and_then(target);
    let Some(mut rest) = tail.and_then(|(_, rest)| word(rest, b"values")) else {
        return false;
    };
    rest = rest.trim_ascii();
    let (mut depth, mut quoted, mut ends) = (0_usize, false, rest.is_empty());
    for b in rest {
        match b {
            _ if ends => return false,
            b'\'' => quoted = !quoted,
            _ if quoted => {}
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            b';' => ends = true,
            b',' | b' ' => {}
            _ => return false,
        }
        if quoted && depth == 0 {
            return false;
        }
    }
    ends
}

/// The name of a table and its columns, if they are told: whether they are, and what follows.
fn target(line: &[u8]) -> Option<(bool, &[u8])> {
    let part = |b: &u8| crate::name::is_word(*b) || matches!(b, b'_' | b'$');
    let quote = |b: &u8| matches!(b, b'"' | b'`');
    let line = line.trim_ascii_start();
    let name = |b: &&u8| part(b) || quote(b) || **b == b'.';
    let size = line.iter().take_while(name).count();
    let rest = line.get(size..)?.trim_ascii_start();
    if size == 0 || line.first()?.is_ascii_digit() {
        return None;
    }
    let Some(list) = rest.strip_prefix(b"(") else {
        return Some((false, rest));
    };
    let close = memchr::memchr(b')', list)?;
    let (names, rest) = list.split_at_checked(close)?;
    let is_name = |name: &[u8]| {
        let name = name.trim_ascii();
        name.iter().all(|b| part(b) || quote(b))
            && name.first().is_some_and(|b| !b.is_ascii_digit())
    };
    let all = names.split(|b| *b == b',').all(is_name);
    all.then(|| Some((true, rest.get(1..)?)))?
}

/// What follows a word, which spaces may stand before.
fn word<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = line.trim_ascii_start().split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}

/// So many lines behind an empty one a row may come that goes on with the table.
const DORMANT_MAX: u32 = 64;

/// Whether JSON or XML may begin with a byte, or go on with it.
fn opens_bracket(first: u8) -> bool {
    matches!(first, b'{' | b'[' | b'}' | b']' | b'<')
}

/// How many brackets open in a text, less those that close.
fn depth(text: &[u8]) -> i32 {
    let one = |b: &u8| match b {
        b'{' | b'[' | b'<' => 1,
        b'}' | b']' | b'>' => -1,
        _ => 0,
    };
    text.iter().map(one).sum()
}

/// Whether a line has a separator of cells in it, or what may be one.
fn has_bars(line: &[u8]) -> bool {
    line.contains(&b'|') || line.windows(3).any(is_drawn_bar)
}

/// How many of them a line has.
fn bars(line: &[u8]) -> usize {
    memchr::memchr_iter(b'|', line).count() + line.windows(3).filter(|w| is_drawn_bar(w)).count()
}

fn is_drawn_bar(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0xe2) && first_char(bytes).is_some_and(table::is_separator)
}

/// Whether two lines have their bars in the same columns. Then the rows do, too, and a bar within a
/// cell is no separator.
fn has_bars_at_same_places(a: &[u8], b: &[u8]) -> bool {
    memchr::memchr_iter(b'|', a).eq(memchr::memchr_iter(b'|', b))
}

/// Whether a line begins like `(3 rows)`; `None`: more is needed.
fn is_footer(line: &[u8], end: bool) -> Option<bool> {
    if let Some(rest) = line.strip_prefix(b"\\") {
        // The end of COPY.
        return match (rest.first(), rest.get(1)) {
            (None, _) | (Some(b'.'), None) if !end => None,
            (Some(b'.'), next) => Some(next.is_none_or(u8::is_ascii_whitespace)),
            _ => Some(false),
        };
    }
    let Some(rest) = line.strip_prefix(b"(") else {
        return Some(false);
    };
    let digits = rest.iter().take(20).take_while(|b| b.is_ascii_digit());
    let digits = digits.count();
    let word = rest.get(digits..).unwrap_or_default();
    let size = word.len().min(FOOTER.len());
    if word.get(..size) != FOOTER.get(..size) || digits == 0 && size > 0 {
        return Some(false);
    }
    let tail = word.get(FOOTER.len()..).unwrap_or_default();
    let tail = tail.strip_prefix(b"s").unwrap_or(tail);
    match (tail.first(), tail.get(1)) {
        (None, _) | (Some(b')'), None) if !end => None,
        (Some(b')'), next) => Some(next.is_none_or(|b| matches!(b, b'\n' | b'\r'))),
        _ => Some(false),
    }
}

const FOOTER: &[u8] = b" row";

/// `-[ RECORD 1 ]---` in any style, or mysql's `*** 1. row ***`.
pub(crate) fn is_record(line: &[u8]) -> bool {
    if line.starts_with(b"* Record ") {
        return true;
    }
    let Some(at) = memchr::memmem::find(line, b"[ RECORD ") else {
        return false;
    };
    // What is drawn stands before it, and no text.
    let drawn = |b: &u8| !b.is_ascii_alphanumeric() && !matches!(b, b'"' | b'\'');
    at < 8 && line.iter().take(at).all(drawn)
}

/// The columns of `COPY t (a, b) FROM stdin;`.
pub(super) fn copied(rules: &Rules, line: &[u8]) -> Option<Table> {
    if !line
        .get(..5)
        .is_some_and(|w| w.eq_ignore_ascii_case(b"copy "))
    {
        return None;
    }
    let open = memchr::memchr(b'(', line)?;
    let close = memchr::memchr(b')', line)?;
    let list = line.get(open + 1..close)?;
    Table::copied(
        list.split(|b| *b == b',')
            .map(|c| rules.compiled().field(column(c)))
            .collect(),
    )
}
