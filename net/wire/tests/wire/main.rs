//! Tests of the codec as its users see it: what is written reads back, the bytes do not change,
//! bad bytes are refused, and the document says what the code does.

mod document;
mod golden;
mod hostile;
mod malformed;
mod round_trip;
mod samples;
mod strategies;
