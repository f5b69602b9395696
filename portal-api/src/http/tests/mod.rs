//! The HTTP edge from outside its routes: requests in, answers out, no socket but in `live`.

mod api;
mod bad_input;
mod everywhere;
mod fixture;
mod live;
mod ops;
mod pages;
mod whip;
