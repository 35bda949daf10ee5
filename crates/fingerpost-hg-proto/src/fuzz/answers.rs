//! Answers written at one end and read at the other.

use std::collections::BTreeMap;

use crate::cbor::{Value, Writer};
use crate::client::{self, Response, ResponseReader};
use crate::encoding::ContentEncoding;
use crate::frame::RequestId;
use crate::redirect::Location;
use crate::server::{Responder, ResponderError};

/// The responder: whatever is called in whatever order, the client reads what
/// was accepted, request by request, and the calls that are refused are those
/// that come too early or too late. The first byte chooses the encoding; then
/// come calls of two bytes.
pub fn fuzz_responder(data: &[u8]) {
    let Some((&control, calls)) = data.split_first() else {
        return;
    };
    let encoding = ContentEncoding::ALL.get(usize::from(control % 4)).copied();
    let mut world = World::new(encoding, control);
    for call in calls.chunks_exact(2).take(60) {
        world.call(call[0], call[1]);
    }
    world.check();
}

/// What was accepted of the answer to one request.
#[derive(Debug, Default)]
struct Accepted {
    said: Vec<Response>,
    ended: bool,
}

struct World {
    responder: Responder,
    body: Vec<u8>,
    accepted: BTreeMap<RequestId, Accepted>,
}

impl World {
    fn new(encoding: Option<ContentEncoding>, control: u8) -> Self {
        let ids = [1, 3, 5].map(RequestId);
        Self {
            responder: Responder::new(encoding, i32::from(control >> 6)),
            body: Vec::new(),
            accepted: ids.map(|id| (id, Accepted::default())).into(),
        }
    }

    fn call(&mut self, what: u8, amount: u8) {
        let id = RequestId(u16::from(what >> 4) % 3 * 2 + 1);
        let (responder, out) = (&mut self.responder, &mut self.body);
        let accepted = self.accepted.entry(id).or_default();
        let is_new = accepted.said.is_empty() && !accepted.ended;
        let is_open = !is_new && !accepted.ended;
        let message = vec![b'm'; usize::from(amount)];
        let (result, legal, said, ends) = match what % 8 {
            0 => (responder.ok(out, id), is_new, vec![Response::Ok], false),
            1 => (responder.end(out, id), is_open, vec![Response::End], true),
            2 => (responder.flush(out, id), is_open, Vec::new(), false),
            3 => {
                let result = responder.refuse(out, id, &message, &[]);
                let args = Vec::new();
                let refused = Response::Refused { message, args };
                (result, is_new, vec![refused, Response::End], true)
            }
            4 => {
                let result = responder.fail(out, id, &message);
                let kind = b"server".to_vec();
                let failed = Response::Failed { kind, message };
                (result, !accepted.ended, vec![failed], true)
            }
            5 => {
                let location = Location::new(message);
                let result = responder.redirect(out, id, &location);
                let redirect = Response::Redirect(location);
                (result, is_new, vec![redirect, Response::End], true)
            }
            _ => {
                let (object, value) = object(amount);
                let result = responder.objects(out, id, &object);
                (result, is_open, vec![Response::Object(value)], false)
            }
        };
        match result {
            Ok(()) => {
                assert!(legal, "{what}");
                accepted.said.extend(said);
                accepted.ended |= ends;
            }
            Err(ResponderError::Encoding(error)) => panic!("{error}"),
            Err(_) => assert!(!legal, "{what}"),
        }
    }

    fn check(mut self) {
        let ids: Vec<_> = self.accepted.keys().copied().collect();
        for &id in &ids {
            self.call(((id.0 / 2) << 4) as u8 | 4, 3);
        }
        let mut reader = ResponseReader::new(client::Limits::default(), ids);
        let mut said = BTreeMap::<_, Vec<_>>::new();
        reader.push(&self.body);
        while let Some(event) = reader.next().expect("clients read what servers write") {
            said.entry(event.request_id)
                .or_default()
                .push(event.response);
        }
        assert_eq!(reader.finish(), Ok(()));
        for (id, accepted) in self.accepted {
            assert!(said.remove(&id) == Some(accepted.said), "{id}");
        }
        assert!(said.is_empty());
    }
}

/// A byte string of up to 130 KiB that is not too easy to compress.
fn object(amount: u8) -> (Vec<u8>, Value) {
    let len = usize::from(amount).pow(2) * 2 + usize::from(amount);
    let bytes = (0..len).map(|at| (at * at / 97) as u8);
    let value = Value::Bytes(bytes.collect());
    let mut object = Vec::new();
    Writer::new(&mut object).value(&value);
    (object, value)
}
