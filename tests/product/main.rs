//! The product from outside, and the rules of the house.

mod tidy;
