//! What leaves: bytes pass, are dropped or are replaced, and text that nobody looks back at is
//! forgotten.

use crate::mask::Place;
use crate::rules::Hit;
use crate::sink::Value;
use crate::term::without_text;
use crate::work;

use super::encoded::Data;
use super::{CONTEXT, LINE_CONTEXT, Lane, Pair, VALUE_MAX};

/// Room for more text than this is given back.
const TEXT_MAX: usize = 128 * 1024;

impl Lane {
    /// Lets everything before `to` go as it came.
    pub(super) fn pass_to(&mut self, to: usize) {
        if self.view.marks.is_empty() && self.view.virt.is_empty() {
            if to > self.out {
                let Self {
                    sink, view, out, ..
                } = self;
                sink.pass(view.text.get(*out..to).unwrap_or_default());
                self.out = to;
            }
            return;
        }
        while self.out < to || self.view.marks.front().is_some_and(|m| m.at <= self.out) {
            while let Some(mark) = self.view.marks.pop_front_if(|m| m.at <= self.out) {
                self.sink.pass(&mark.raw);
            }
            if self.out >= to {
                break;
            }
            let next = self.view.marks.front().map_or(to, |m| m.at.min(to));
            match self.view.virt.front().copied() {
                Some((start, end)) if start <= self.out => {
                    if start == self.out && self.byte(start) == Some(b'\n') {
                        self.sink.moved();
                    }
                    self.out = end.min(next.max(self.out)).max(self.out);
                    if self.out < end {
                        self.out = end.min(to.max(self.out));
                    }
                    if self.out >= end {
                        self.view.virt.pop_front();
                    }
                }
                other => {
                    let next = other.map_or(next, |(start, _)| start.min(next));
                    let Self {
                        sink, view, out, ..
                    } = self;
                    sink.pass(view.text.get(*out..next).unwrap_or_default());
                    self.out = next;
                }
            }
        }
    }

    /// Lets nothing of what stands before `to` go.
    pub(super) fn drop_to(&mut self, to: usize) {
        if to <= self.out {
            return;
        }
        if self.sink.passes_rest() {
            self.pass_to(to);
            return;
        }
        let mut size = to - self.out;
        while let Some((start, end)) = self.view.virt.front().copied() {
            if start >= to {
                break;
            }
            size -= end.min(to).saturating_sub(start.max(self.out));
            if end <= to {
                self.view.virt.pop_front();
            } else {
                break;
            }
        }
        let Self {
            sink, view, out, ..
        } = self;
        sink.swallow(size, view.text.get(*out..to).unwrap_or_default());
        self.out = to;
        self.swallow_backspaces(to);
    }

    /// Replaces what stands from `from` to before `to`.
    pub(super) fn mask(
        &mut self,
        from: usize,
        to: usize,
        hit: Hit,
        place: Place,
        format: &'static str,
    ) {
        self.replace(
            from,
            to,
            (hit, place, format),
            to - from.min(to) > VALUE_MAX,
        );
    }

    /// Replaces what may be a part of a value, or more than one: nothing of it is kept.
    pub(super) fn mask_part(
        &mut self,
        from: usize,
        to: usize,
        hit: Hit,
        place: Place,
        format: &'static str,
    ) {
        self.replace(from, to, (hit, place, format), true);
    }

    fn replace(
        &mut self,
        from: usize,
        to: usize,
        mut found: (Hit, Place, &'static str),
        long: bool,
    ) {
        self.own.skip(to);
        let mut from = from.max(self.out);
        let mut long = long;
        // Where a program paints a screen, everything keeps its place: what stands before and behind
        // a sequence is replaced by itself, and nothing is kept of such parts.
        if self.view.is_painting(from) {
            found.1 = Place::Cell;
            while from < to {
                self.pass_to(from);
                let Some(mark) = self.view.marks.front().filter(|m| m.at < to) else {
                    break;
                };
                let at = mark.at;
                long = true;
                self.replace_part(from, at, found, long);
                from = at;
            }
        }
        self.replace_part(from, to, found, long);
    }

    fn replace_part(
        &mut self,
        from: usize,
        to: usize,
        (hit, place, format): (Hit, Place, &'static str),
        long: bool,
    ) {
        if from >= to {
            return;
        }
        self.pass_to(from);
        let begins_scalar = (matches!(format, "yaml" | "base64") && place == Place::Word)
            || matches!(format, "key-value" | "detector" | "argument") && self.begins_scalar(from);
        let Self {
            sink,
            view,
            rules,
            session,
            ..
        } = self;
        let text = view.text.get(from..to).unwrap_or_default();
        let value = Value {
            hit,
            place,
            format,
            begins_scalar,
        };
        let real: Vec<u8>;
        let text = if view.virt.front().is_some_and(|(start, _)| *start < to) {
            let virt = &view.virt;
            real = text
                .iter()
                .enumerate()
                .filter(|(k, _)| !virt.iter().any(|(s, e)| (*s..*e).contains(&(from + k))))
                .map(|(_, b)| *b)
                .collect();
            real.as_slice()
        } else {
            text
        };
        if text.is_empty() {
            // All of it has been painted before.
            self.pass_to(to);
            return;
        }
        // Of a part of a value nothing is kept.
        let long = long || text.len() < to - from;
        if !sink.value(rules, session, text, value, long) {
            self.pass_to(to);
            self.sink.reach();
            return;
        }
        let continued = |b: &&u8| !(0x80..0xc0).contains(*b);
        let size = text.iter().filter(continued).count();
        while view.virt.front().is_some_and(|(_, end)| *end <= to) {
            view.virt.pop_front();
        }
        self.out = to;
        self.replaced = Some((to, size));
        self.swallow_backspaces(to);
        while let Some(mark) = self.view.marks.pop_front_if(|m| m.at < to) {
            self.sink.pass(&mark.raw);
        }
        self.sink.reach();
    }

    /// Nothing goes of what was taken back of a value that ends at `to`, or written over it.
    fn swallow_backspaces(&mut self, to: usize) {
        let marks = self.view.marks.iter_mut().take_while(|m| m.at <= to);
        for mark in marks.filter(|m| m.raw.contains(&0x08)) {
            let left = without_text(&mark.raw);
            self.sink.swallow(mark.raw.len() - left.len(), &[]);
            mark.raw = left;
        }
    }

    /// Whether a plain scalar of YAML may begin here, where a star would be an alias.
    fn begins_scalar(&self, at: usize) -> bool {
        let before = self.slice(at.saturating_sub(2), at);
        matches!(before, [b':' | b'-' | b',' | b'?', b' '] | [_, b'[' | b'{']) || at == self.line
    }

    /// Forgets text that nobody will look back at.
    pub(super) fn trim(&mut self) {
        let mut keep = self.out.min(self.pos).saturating_sub(CONTEXT);
        let line = self.above.map_or(self.line, |(start, _)| start);
        if self.out.saturating_sub(line) <= LINE_CONTEXT {
            keep = keep.min(line);
        } else if self.out.saturating_sub(self.line) <= LINE_CONTEXT {
            keep = keep.min(self.line);
        }
        // Moves of the cursor may have shown much.
        if self.view.text.capacity() > TEXT_MAX && self.view.text.len() < TEXT_MAX / 2 {
            self.view.text.shrink_to(TEXT_MAX / 2);
        }
        // Moving the rest costs: it is done when there is much to forget.
        if keep < 4096 || keep < (self.view.text.len() - keep) / 8 {
            return;
        }
        let keep = self.names_before(keep);
        work::count(self.view.text.len());
        self.view.text.drain(..keep);
        self.creates_from(keep);
        self.out -= keep;
        self.pos -= keep;
        if self.line < keep {
            self.line_cut = true;
        }
        self.line = self.line.saturating_sub(keep);
        self.above = self
            .above
            .and_then(|(a, b)| Some((a.checked_sub(keep)?, b - keep)));
        self.seen = self
            .seen
            .and_then(|(a, b)| Some((a.checked_sub(keep)?, b - keep)));
        self.row.cell = self.row.cell.saturating_sub(keep);
        self.row.scan = self.row.scan.saturating_sub(keep);
        self.row.ahead = self.row.ahead.saturating_sub(keep);
        self.row.counted = self.row.counted.saturating_sub(keep);
        self.row.guard = self.row.guard.map(|at| at.saturating_sub(keep));
        if let Some(before) = &mut self.row.before {
            before.from = before.from.saturating_sub(keep);
            before.to = before.to.saturating_sub(keep);
        }
        self.pair = self.pair.and_then(|p| {
            Some(Pair {
                at: p.at.checked_sub(keep)?,
                ..p
            })
        });
        if let Some(lists) = &mut self.lists {
            lists.forget(keep);
        }
        self.replaced = self
            .replaced
            .and_then(|(end, size)| Some((end.checked_sub(keep)?, size)));
        if let Some(within) = &mut self.within {
            within.moved(keep);
        }
        self.joins = self.joins.and_then(|joins| joins.moved(keep));
        self.changed = self
            .changed
            .and_then(|(at, hit)| Some((at.checked_sub(keep)?, hit)));
        if let Some(Data::Object { at: Some(at), .. }) = &mut self.data {
            *at = at.saturating_sub(keep);
        }
        self.own.forget(keep);
        self.echoed = self.echoed.saturating_sub(keep);
        self.echoes_from = self.echoes_from.saturating_sub(keep);
        for mark in &mut self.view.marks {
            mark.at = mark.at.saturating_sub(keep);
        }
        for (at, _) in &mut self.view.signals {
            *at = at.saturating_sub(keep);
        }
        for (at, _) in &mut self.view.paints {
            *at = at.saturating_sub(keep);
        }
        for (start, end) in &mut self.view.virt {
            *start = start.saturating_sub(keep);
            *end = end.saturating_sub(keep);
        }
    }
}
