//! Everything that the bastion needs around it, on loopback: an OpenID provider, SSH targets with
//! sample data, and a tour that plays the whole story with the stock `ssh` client.
//!
//! Owns nothing of the product: the bastion and `replay` run here as the real programs, by
//! re-executing this one (see [`Role`]). Nothing in this crate may be used outside a demonstration:
//! its provider asks for no password.

pub mod provider;
pub mod role;
pub mod sql;
pub mod stage;
pub mod target;
pub mod tour;

pub use role::Role;
