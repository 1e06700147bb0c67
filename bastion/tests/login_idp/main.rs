//! Sign-in against a real, certified OpenID provider (`tests/idp`): what its users do, what goes
//! wrong with it, and what products in the field make of the protocol.

#![expect(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "tests"
)]

mod faults;
mod people;
mod products;
mod provider;
mod rechecks;
