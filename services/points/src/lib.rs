#![allow(dead_code)]
pub mod domain;
