//! What every resource needs of HTTP. No domain word in here.

pub mod caller;
pub mod field;
pub mod json;
pub mod number;
mod objects;
pub mod page;
pub mod params;
pub mod reply;
pub mod request_id;
pub mod timestamp;
pub mod unread_body;
