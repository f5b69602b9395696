//! The product from outside, and the rules of the house.

mod cli;
mod fuzz_corpus;
mod server;
mod tidy;
