//! The product from outside, and the rules of the house.

mod acme;
mod activation;
mod cli;
mod fuzz_corpus;
mod http;
mod logs;
mod person;
mod probe;
mod relay;
mod server;
mod tidy;
mod tls;
mod visit;
