//! Sequences → the bits of a block (RFC 8878 §3.1.1.3.2), with the format's predefined tables.

use super::search::{SEQUENCES, Sequence, filled};
use super::vectors::{Run, Vectors};

/// Codes the sequences of one block after the other.
pub(super) struct Coder {
    bytes: Box<[u8; ROOM]>,
    used: usize,
}

impl Default for Coder {
    fn default() -> Self {
        Self {
            bytes: filled(0),
            used: 0,
        }
    }
}

impl Coder {
    /// The sequences section of the last block.
    pub(super) fn section(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

/// Codes the sequences of a block.
pub(super) struct Code<'a> {
    pub(super) sequences: &'a [Sequence],
    pub(super) coder: &'a mut Coder,
}

impl Run for Code<'_> {
    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        let Self { sequences, coder } = self;
        // There is room for all that a block can have.
        coder.used = write(&mut coder.bytes, sequences).unwrap_or_default();
    }
}

/// Writes the section, and gives its length.
#[inline(always)]
fn write(bytes: &mut [u8; ROOM], sequences: &[Sequence]) -> Option<usize> {
    let head = count(bytes, sequences.len())?;
    // Decoders read from the end on: what is written last comes first.
    let Some((last, rest)) = sequences.split_last() else {
        return Some(head);
    };
    *bytes.get_mut(head)? = PREDEFINED;
    let bits = Bits {
        at: head + 1,
        word: 0,
        len: 0,
    };
    let symbols = Symbols::of(last);
    let mut states = States {
        literals: symbols.literals.first,
        length: symbols.length.first,
        offset: symbols.offset.first,
    };
    let mut bits = symbols.extra(last, bits, bytes)?;
    for sequence in rest.iter().rev() {
        match Symbols::of_short(sequence) {
            // Less than 64 bits with those that are left.
            Some(symbols) => {
                states.code(&symbols, &mut bits);
                bits.put(symbols.literals.value, symbols.literals.extra);
                bits.put(symbols.length.value, symbols.length.extra);
                bits.put_low(sequence.offset_value, symbols.offset.extra);
                bits = bits.flush(bytes)?;
            }
            None => {
                let symbols = Symbols::of(sequence);
                states.code(&symbols, &mut bits);
                bits = symbols.extra(sequence, bits.flush(bytes)?, bytes)?;
            }
        }
    }
    bits.put(states.length, 6);
    bits.put(states.offset, 5);
    bits.put(states.literals, 6);
    // The highest bit that is set ends them.
    bits.put(1, 1);
    let bits = bits.flush(bytes)?;
    Some(bits.at + usize::from(bits.len > 0))
}

/// Writes how many there are (§3.1.1.3.2.1), and gives the length of that.
fn count(bytes: &mut [u8; ROOM], count: usize) -> Option<usize> {
    let [low, high, ..] = count.to_le_bytes();
    match count {
        0..128 => *bytes.first_mut()? = low,
        128..0x7f00 => *bytes.first_chunk_mut()? = [high | 0x80, low],
        _ => {
            let [low, high, ..] = (count - 0x7f00).to_le_bytes();
            *bytes.first_chunk_mut()? = [0xff, low, high];
        }
    }
    Some(match count {
        0..128 => 1,
        128..0x7f00 => 2,
        _ => 3,
    })
}

/// The states of the three tables.
struct States {
    literals: u32,
    length: u32,
    offset: u32,
}

impl States {
    #[inline(always)]
    fn code(&mut self, symbols: &Symbols, bits: &mut Bits) {
        self.offset = symbols.offset.code(self.offset, bits);
        self.length = symbols.length.code(self.length, bits);
        self.literals = symbols.literals.code(self.literals, bits);
    }
}

/// What codes one sequence.
struct Symbols {
    literals: &'static Symbol,
    length: &'static Symbol,
    offset: &'static Symbol,
}

impl Symbols {
    /// Those of a sequence both of whose lengths have a symbol of their own; else none.
    #[inline(always)]
    fn of_short(sequence: &Sequence) -> Option<Self> {
        let length = sequence.length.wrapping_sub(SHORTEST);
        Some(Self {
            literals: LITERALS.each.get(sequence.literals as usize)?,
            length: LENGTHS.each.get(length as usize)?,
            offset: Self::of_offset(sequence),
        })
    }

    #[inline(always)]
    fn of(sequence: &Sequence) -> Self {
        let length = sequence.length.saturating_sub(SHORTEST);
        Self {
            literals: LITERALS.of(sequence.literals),
            length: LENGTHS.of(length),
            offset: Self::of_offset(sequence),
        }
    }

    #[inline(always)]
    fn of_offset(sequence: &Sequence) -> &'static Symbol {
        let log = (sequence.offset_value | 1).ilog2();
        OFFSETS.get(log as usize).unwrap_or(&NONE)
    }

    /// Writes the bits that stand beside the codes.
    #[inline(always)]
    fn extra(&self, sequence: &Sequence, mut bits: Bits, bytes: &mut [u8; ROOM]) -> Option<Bits> {
        bits.put_low(sequence.literals, self.literals.extra);
        let length = sequence.length.saturating_sub(SHORTEST);
        bits.put_low(length, self.length.extra);
        let mut bits = bits.flush(bytes)?;
        bits.put_low(sequence.offset_value, self.offset.extra);
        bits.flush(bytes)
    }
}

/// Bits that are not written yet, from the lowest of a byte on. Handed on by value, so that they
/// stay in registers.
#[derive(Clone, Copy)]
struct Bits {
    /// Where they go.
    at: usize,
    word: u64,
    len: u32,
}

impl Bits {
    /// Adds a value of `len` bits. There have to be so many free.
    #[inline(always)]
    fn put(&mut self, value: u32, len: u32) {
        self.word |= u64::from(value).wrapping_shl(self.len);
        self.len = self.len.wrapping_add(len);
    }

    /// Adds the lowest `len` bits of a value, at most 31. There have to be so many free.
    #[inline(always)]
    fn put_low(&mut self, value: u32, len: u32) {
        self.put(value & 1_u32.wrapping_shl(len).wrapping_sub(1), len);
    }

    /// Writes whole bytes, so that at most seven bits are left.
    #[inline(always)]
    fn flush(mut self, bytes: &mut [u8; ROOM]) -> Option<Self> {
        let to = bytes.get_mut(self.at..)?.first_chunk_mut()?;
        *to = self.word.to_le_bytes();
        self.at = self.at.wrapping_add((self.len >> 3) as usize);
        self.word = self.word.wrapping_shr(self.len & !7);
        self.len &= 7;
        Some(self)
    }
}

/// What codes a value.
#[derive(Clone, Copy)]
struct Symbol {
    /// What becomes of each state: the next in the lowest byte, then the number of bits to write,
    /// then these.
    steps: &'static [u32; STATES],
    /// The state that it leaves, when it is the first to be written.
    first: u32,
    /// Bits that stand beside the code.
    extra: u32,
    /// What they are, where the symbol is of one value.
    value: u32,
}

impl Symbol {
    /// Writes what is not in the next state any more, and gives that.
    #[inline(always)]
    fn code(&self, state: u32, bits: &mut Bits) -> u32 {
        let step = self.steps.get(state as usize % STATES);
        let step = step.copied().unwrap_or_default();
        bits.put(step >> 16, step >> 8 & 0xff);
        step % STATES as u32
    }
}

/// The symbols of lengths.
struct Lengths<const EACH: usize> {
    /// Those of the values below.
    each: [Symbol; EACH],
    /// Those of all others, by the powers of two that they begin with.
    logs: [Symbol; LOGS],
}

impl<const EACH: usize> Lengths<EACH> {
    #[inline(always)]
    fn of(&self, value: u32) -> &Symbol {
        match self.each.get(value as usize) {
            Some(symbol) => symbol,
            None => self.logs.get(value.ilog2() as usize).unwrap_or(&NONE),
        }
    }

    /// Those of codes with so many extra bits each.
    #[expect(clippy::indexing_slicing, reason = "done at compile time")]
    const fn new<const CODES: usize>(table: &'static Table<CODES>, extras: &[u8; CODES]) -> Self {
        let mut each = [NONE; EACH];
        let mut logs = [NONE; LOGS];
        let (mut value, mut code, mut end) = (0, 0, 1 << extras[0]);
        while value < 1 << LOGS {
            // What is behind the last code is longer than a block.
            if value >= end && code + 1 < CODES {
                code += 1;
                end += 1 << extras[code];
            }
            let symbol = table.symbol(code, extras[code] as u32, value as u32);
            if value < EACH {
                each[value] = symbol;
                value += 1;
            } else {
                logs[value.ilog2() as usize] = symbol;
                value = if end > value { end } else { value + 1 };
            }
        }
        Self { each, logs }
    }
}

/// A table of finite state entropy (RFC 8878 §4.1), as an encoder needs it.
struct Table<const CODES: usize> {
    /// Of each code, what becomes of each state: see [`Symbol`].
    steps: [[u32; STATES]; CODES],
    first: [u32; CODES],
}

impl<const CODES: usize> Table<CODES> {
    #[expect(clippy::indexing_slicing, reason = "done at compile time")]
    const fn symbol(&'static self, code: usize, extra: u32, value: u32) -> Symbol {
        Symbol {
            steps: &self.steps[code],
            first: self.first[code],
            extra,
            value: value & ((1 << extra) - 1),
        }
    }

    /// The table of these probabilities, of which −1 is less than one, in `1 << log` states.
    #[expect(clippy::indexing_slicing, reason = "done at compile time")]
    const fn new(probabilities: &[i8; CODES], log: u32) -> Self {
        let size = 1 << log;
        // The code of each state (§4.1.1): the improbable ones at the end, others spread.
        let mut codes = [0; STATES];
        let (mut high, mut code) = (size - 1, 0);
        while code < CODES {
            if probabilities[code] < 0 {
                codes[high] = code;
                high -= 1;
            }
            code += 1;
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let (mut place, mut code) = (0, 0);
        while code < CODES {
            let mut left = probabilities[code];
            while left > 0 {
                codes[place] = code;
                left -= 1;
                place = (place + step) % size;
                while place > high {
                    place = (place + step) % size;
                }
            }
            code += 1;
        }
        // A decoder that is in a state of a code knows the code, and reads bits that say in which
        // state it is next: each state has a share of all next ones (§4.1.1), which are those that
        // an encoder comes from.
        let mut table = Self {
            steps: [[0; STATES]; CODES],
            first: [0; CODES],
        };
        let mut seen = [0; CODES];
        let mut state = 0;
        while state < size {
            let code = codes[state];
            let count = if probabilities[code] < 0 {
                1
            } else {
                probabilities[code] as u32
            };
            let number = count + seen[code];
            seen[code] += 1;
            let bits = log - number.ilog2();
            let base = ((number << bits) - (1 << log)) as usize;
            let mut value = 0;
            while value < 1 << bits {
                table.steps[code][base + value] = state as u32 | bits << 8 | (value as u32) << 16;
                value += 1;
            }
            table.first[code] = state as u32;
            state += 1;
        }
        table
    }
}

static LITERALS: Lengths<64> = Lengths::new(
    &LITERALS_TABLE,
    &[
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10,
        11, 12, 13, 14, 15, 16,
    ],
);
static LENGTHS: Lengths<128> = Lengths::new(
    &LENGTHS_TABLE,
    &[
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    ],
);
/// The symbols of offsets, by the powers of two that they begin with.
static OFFSETS: [Symbol; 29] = offsets();

#[expect(clippy::indexing_slicing, reason = "done at compile time")]
const fn offsets() -> [Symbol; 29] {
    let mut symbols = [NONE; 29];
    let mut code = 0;
    while code < symbols.len() {
        symbols[code] = OFFSETS_TABLE.symbol(code, code as u32, 0);
        code += 1;
    }
    symbols
}

static LITERALS_TABLE: Table<36> = Table::new(
    &[
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1,
        1, 1, -1, -1, -1, -1,
    ],
    6,
);
static LENGTHS_TABLE: Table<53> = Table::new(
    &[
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
    6,
);
static OFFSETS_TABLE: Table<29> = Table::new(
    &[
        1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
    ],
    5,
);

/// Of values that are longer than anything.
const NONE: Symbol = Symbol {
    steps: &[0; STATES],
    first: 0,
    extra: 0,
    value: 0,
};

/// Of each predefined table: all three.
const PREDEFINED: u8 = 0;
/// The shortest length of the format.
const SHORTEST: u32 = 3;
/// Powers of two in the lengths of a block.
const LOGS: usize = 17;
/// The states of the largest table.
const STATES: usize = 64;
/// Bytes of a sequence at most: codes, twice 16 bits beside them, and those of an offset.
const LONGEST: usize = 10;
/// Bytes for all that a block has, and those that are written at once behind them.
const ROOM: usize = SEQUENCES * LONGEST + 16;
