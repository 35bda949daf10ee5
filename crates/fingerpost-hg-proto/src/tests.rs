//! Tests of both ends together.

mod examples;
