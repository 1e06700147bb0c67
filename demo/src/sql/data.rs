//! The sample data: customers, orders and payroll of a shop that does not exist.
//!
//! Every value is made up and the same on each run. Card numbers are the test numbers of the card
//! schemes, e-mail addresses end in the reserved `example` domains (RFC 2606), IBANs name a bank
//! code that is not given out; they have right check digits, so that detectors can be tried.

use std::path::Path;

use rusqlite::{Connection, params};

/// Makes the database at `path`.
///
/// # Errors
/// Where the file exists already with such tables, or can't be written.
pub fn create(path: &Path) -> Result<(), rusqlite::Error> {
    let mut db = Connection::open(path)?;
    let change = db.transaction()?;
    change.execute_batch(SCHEMA)?;
    for (index, (name, city, country)) in PEOPLE.iter().enumerate() {
        let id = index_id(index);
        change.execute(
            "insert into customers values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                id,
                name,
                email(name, id),
                format!("+1-202-555-{:04}", 100 + id),
                social_security(id),
                pick(&CARDS, index),
                iban(id),
                format!("{city}, {country}"),
                format!("2026-{:02}-{:02}", 1 + id % 9, 1 + (id * 7) % 28),
            ],
        )?;
    }
    for id in 1..=ORDERS {
        let (item, cents) = pick(&ITEMS, usize::try_from(id * 5).unwrap_or_default());
        let quantity = 1 + (id * 3) % 4;
        let customer = 1 + (id * 11) % i64::try_from(PEOPLE.len()).unwrap_or(1);
        change.execute(
            "insert into orders values (?, ?, ?, ?, ?, ?, ?)",
            params![
                id,
                customer,
                item,
                quantity,
                format!("{}.{:02}", cents * quantity / 100, cents * quantity % 100),
                pick(&STATES, usize::try_from(id).unwrap_or_default()),
                format!("2026-{:02}-{:02}", 1 + id % 10, 1 + (id * 5) % 28),
            ],
        )?;
    }
    for (index, (name, title, manager)) in STAFF.iter().enumerate() {
        let id = index_id(index);
        change.execute(
            "insert into payroll values (?, ?, ?, ?, ?, ?, ?)",
            params![
                id,
                name,
                title,
                manager,
                54_000 + (id * 7_300) % 61_000,
                (id % 3 != 0).then_some(1_000 + (id * 450) % 5_000),
                iban(500 + id),
            ],
        )?;
    }
    change.commit()
}

/// The number of rows of `orders`.
pub const ORDERS: i64 = 120;

/// The number of rows of `customers`.
pub const CUSTOMERS: usize = PEOPLE.len();

fn index_id(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX - 1) + 1
}

fn pick<T: Copy, const N: usize>(from: &[T; N], index: usize) -> T {
    const { assert!(N > 0, "there is something to pick") };
    from.get(index % N)
        .copied()
        .unwrap_or_else(|| from.map(|one| one)[0])
}

fn email(name: &str, id: i64) -> String {
    let host = pick(
        &["example.com", "example.net", "example.org"],
        usize::try_from(id).unwrap_or_default(),
    );
    let user: String = name
        .chars()
        .map(|c| {
            if c == ' ' {
                '.'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .filter(char::is_ascii)
        .collect();
    format!("{user}@{host}")
}

/// A number in the shape of a US social security number, in an area that was given out.
fn social_security(id: i64) -> String {
    format!(
        "{:03}-{:02}-{:04}",
        100 + (id * 37) % 500,
        10 + (id * 13) % 89,
        1000 + (id * 271) % 8999
    )
}

/// A German IBAN of a bank code that is not given out, with right check digits (ISO 13616).
fn iban(id: i64) -> String {
    let account = format!("{:08}{:010}", 10_000_000, 1_000_000_000 + id * 7_919);
    let mut rest = 0_u64;
    // DE is 1314, and the check digits count as 00.
    for digit in account.bytes().chain(*b"131400") {
        rest = (rest * 10 + u64::from(digit - b'0')) % 97;
    }
    format!("DE{:02}{account}", 98 - rest)
}

const SCHEMA: &str = "
create table customers (
    id integer primary key,
    name text not null,
    email text not null,
    phone text not null,
    ssn text not null,
    card text not null,
    iban text not null,
    city text not null,
    since text not null
);
create table orders (
    id integer primary key,
    customer_id integer not null references customers (id),
    item text not null,
    quantity integer not null,
    total numeric not null,
    state text not null,
    ordered_on text not null
);
create table payroll (
    id integer primary key,
    employee text not null,
    title text not null,
    manager text,
    salary integer not null,
    bonus integer,
    iban text not null
);
";

const PEOPLE: [(&str, &str, &str); 24] = [
    ("Ada Okafor", "Lagos", "NG"),
    ("Bram de Vries", "Utrecht", "NL"),
    ("Chiara Conti", "Torino", "IT"),
    ("Dmitri Ivanov", "Riga", "LV"),
    ("Elif Kaya", "Izmir", "TR"),
    ("Finn Larsen", "Aarhus", "DK"),
    ("Grace Kim", "Busan", "KR"),
    ("Hugo Moreau", "Lyon", "FR"),
    ("Ines Duarte", "Porto", "PT"),
    ("Jonas Weber", "Leipzig", "DE"),
    ("Kavya Nair", "Kochi", "IN"),
    ("Liam Byrne", "Cork", "IE"),
    ("Mei Tanaka", "Kobe", "JP"),
    ("Noah Fischer", "Basel", "CH"),
    ("Olga Nowak", "Gdynia", "PL"),
    ("Pablo Ruiz", "Sevilla", "ES"),
    ("Quinn Harper", "Leeds", "GB"),
    ("Rosa Silva", "Recife", "BR"),
    ("Sven Holm", "Uppsala", "SE"),
    ("Tara Singh", "Pune", "IN"),
    ("Uma Patel", "Surat", "IN"),
    ("Viktor Horvat", "Zagreb", "HR"),
    ("Wendy Cole", "Boston", "US"),
    ("Yusuf Demir", "Ankara", "TR"),
];

const ITEMS: [(&str, i64); 7] = [
    ("espresso machine", 24_900),
    ("kettle", 4_950),
    ("grinder", 11_900),
    ("mug, blue", 1_250),
    ("beans, 1 kg", 2_190),
    ("filter papers", 495),
    ("scale", 3_900),
];

const STATES: [&str; 5] = ["delivered", "paid", "shipped", "delivered", "returned"];

const CARDS: [&str; 4] = [
    "4111 1111 1111 1111",
    "5555 5555 5555 4444",
    "4012 8888 8888 1881",
    "5105 1051 0510 5100",
];

const STAFF: [(&str, &str, Option<&str>); 8] = [
    ("Amira Haddad", "director", None),
    ("Ben Castell", "engineer", Some("Amira Haddad")),
    ("Clara Johansson", "engineer", Some("Amira Haddad")),
    ("Daniel Osei", "accountant", Some("Amira Haddad")),
    ("Esther Lindqvist", "buyer", Some("Daniel Osei")),
    ("Felix Brandt", "engineer", Some("Clara Johansson")),
    ("Giulia Ferri", "designer", Some("Clara Johansson")),
    ("Hassan Rahimi", "support", Some("Ben Castell")),
];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test")]
    use super::*;

    /// The check of ISO 13616: the number with the first four characters moved back is 1 mod 97.
    #[test]
    fn ibans_have_right_check_digits() {
        for id in 1..600 {
            let iban = iban(id);
            assert_eq!(iban.len(), 22);
            let (front, back) = iban.split_at(4);
            let rest = format!("{back}1314{}", front.trim_start_matches("DE"))
                .bytes()
                .fold(0_u64, |rest, digit| {
                    (rest * 10 + u64::from(digit - b'0')) % 97
                });
            assert_eq!(rest, 1, "{iban}");
        }
    }

    #[test]
    fn the_database_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        create(&path).unwrap();
        let db = Connection::open(&path).unwrap();
        for (table, rows) in [("customers", 24), ("orders", ORDERS), ("payroll", 8)] {
            let count: i64 = db
                .query_row(&format!("select count(*) from {table}"), [], |row| {
                    row.get(0)
                })
                .unwrap();
            assert_eq!(count, rows, "{table}");
        }
        let orphans: i64 = db
            .query_row(
                "select count(*) from orders where customer_id not in (select id from customers)",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(orphans, 0);
        create(&path).unwrap_err();
    }
}
