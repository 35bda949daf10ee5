//! Stores and targets against the real parts: a Valkey or Redis of the system,
//! an S3 server that checks every signature, a directory; the content endpoint
//! against HTTP clients.

mod endpoint;
mod endpoint_limits;
mod endpoint_site;
mod long_answer;
mod object;
mod presign;
mod s3_server;
mod targets;
mod valkey;
mod world;
