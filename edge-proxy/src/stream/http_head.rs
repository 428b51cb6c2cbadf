//! The head of the HTTP request that opens a WebSocket: whole or not, and the token in it. Pure.
//!
//! A browser cannot set headers of a WebSocket but can offer subprotocols, and a URL ends up in more logs than a header
//! does. A token that is offered as one is taken out before the server sees the list, so that it cannot choose it.

use std::ops::Range;

/// Longest head, in bytes.
pub(super) const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Field that offers subprotocols.
const OFFER_FIELD: &str = "sec-websocket-protocol";
/// What a subprotocol that is a token begins with.
const TOKEN_PREFIX: &str = "muster.token.";
/// Most header fields.
const MAX_FIELDS: usize = 64;

/// A whole head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Value of the query's first `token`, or else of the first subprotocol that is one, if there is any. Tokens need no
    /// percent-encoding, so none is undone.
    pub(super) token: Option<String>,
    /// Its bytes.
    pub(super) length: usize,
    /// Where a token stands among subprotocols, and what is to stand there instead.
    offer: Option<(Range<usize>, String)>,
}

impl Head {
    /// Takes the token out of the subprotocols offered in `bytes`, which begin with this head.
    pub(super) fn without_token(&self, bytes: &mut Vec<u8>) {
        if let Some((at, instead)) = &self.offer {
            bytes.splice(at.clone(), instead.bytes());
        }
    }
}

/// Why bytes are no head of a WebSocket's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    /// No HTTP.
    NoHttp,
    /// Over [`MAX_HEAD_BYTES`], or over the bound on fields.
    TooLarge,
    /// HTTP, but it asks for no WebSocket.
    NoWebSocket,
}

/// The head that `bytes` begin with; `None` if more bytes are needed.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let within = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
    let length = match request.parse(within) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(HeadError::TooLarge);
        }
        Err(_) => return Err(HeadError::NoHttp),
    };
    let upgrades = request.method == Some("GET")
        && request.version == Some(1)
        && lists(&request, "upgrade", "websocket")
        && lists(&request, "connection", "upgrade");
    if !upgrades {
        return Err(HeadError::NoWebSocket);
    }
    let of_query = request.path.and_then(token_of);
    let offered = offered(&request, bytes);
    let (of_offer, offer) =
        offered.map_or((None, None), |(token, at, instead)| (Some(token), Some((at, instead))));
    Ok(Some(Head { token: of_query.or(of_offer).map(str::to_owned), length, offer }))
}

/// Whether a field `name` lists `word`.
fn lists(request: &httparse::Request<'_, '_>, name: &str, word: &str) -> bool {
    request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).any(|field| {
        field
            .value
            .split(|byte| *byte == b',')
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// The token among the subprotocols of the first field that offers one, where the field's line or value stands in `bytes`,
/// and what is left of it.
fn offered<'a>(
    request: &httparse::Request<'_, 'a>,
    bytes: &'a [u8],
) -> Option<(&'a str, Range<usize>, String)> {
    let mut fields = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(OFFER_FIELD));
    fields.find_map(|field| {
        let value = std::str::from_utf8(field.value).ok()?;
        let names = || value.split(',').map(str::trim);
        let token = names().find_map(|name| name.strip_prefix(TOKEN_PREFIX))?;
        let left: Vec<&str> = names().filter(|name| !name.starts_with(TOKEN_PREFIX)).collect();
        // Both are pieces of `bytes`.
        let at = |piece: &[u8]| (piece.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize);
        let (name, value) = (at(field.name.as_bytes())?, at(field.value)?);
        let end = value + field.value.len();
        let line_end = end + bytes.get(end..)?.iter().position(|byte| *byte == b'\n')? + 1;
        let range = if left.is_empty() { name..line_end } else { value..end };
        Some((token, range, left.join(", ")))
    })
}

fn token_of(target: &str) -> Option<&str> {
    let (_, query) = target.split_once('?')?;
    let query = query.split('#').next()?;
    query.split('&').find_map(|pair| pair.strip_prefix("token="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(target: &str) -> String {
        format!(
            "GET {target} HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
    }

    fn token(target: &str) -> Option<String> {
        parse(request(target).as_bytes()).unwrap().unwrap().token
    }

    #[test]
    fn the_token_is_found_wherever_it_stands() {
        assert_eq!(token("/?token=v4.public.a-b_c").as_deref(), Some("v4.public.a-b_c"));
        assert_eq!(token("/play?room=1&token=x&y=2").as_deref(), Some("x"));
        assert_eq!(token("/play?mytoken=x"), None);
        assert_eq!(token("/token=x"), None);
        assert_eq!(token("/?token=").as_deref(), Some(""));
    }

    fn offering(value: &str) -> String {
        request("/")
            .replace("Upgrade: websocket", &format!("Sec-WebSocket-Protocol: {value}\r\nUpgrade: websocket"))
    }

    #[test]
    fn a_token_among_subprotocols_is_found_and_taken_out() {
        let passed_on = |value: &str| {
            let mut bytes = offering(value).into_bytes();
            bytes.extend_from_slice(b"frames");
            let head = parse(&bytes).unwrap().unwrap();
            head.without_token(&mut bytes);
            (head.token, String::from_utf8(bytes).unwrap())
        };
        let (token, rest) = passed_on("game.v2,  muster.token.v4.public.a-b , game.v1");
        assert_eq!(token.as_deref(), Some("v4.public.a-b"));
        assert_eq!(rest, offering("game.v2, game.v1") + "frames");
        let (token, rest) = passed_on("muster.token.abc");
        assert_eq!((token.as_deref(), rest), (Some("abc"), request("/") + "frames"), "no field is left");
        let (token, rest) = passed_on("game.v1");
        assert_eq!((token, rest), (None, offering("game.v1") + "frames"));
    }

    #[test]
    fn what_is_no_websocket_is_told_apart() {
        let plain = "GET / HTTP/1.1\r\nHost: edge\r\n\r\n";
        assert_eq!(parse(plain.as_bytes()), Err(HeadError::NoWebSocket));
        assert_eq!(parse(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), Err(HeadError::NoHttp));
        let old = request("/").replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(parse(old.as_bytes()), Err(HeadError::NoWebSocket));
        let post = request("/").replace("GET", "POST");
        assert_eq!(parse(post.as_bytes()), Err(HeadError::NoWebSocket));
    }

    #[test]
    fn a_head_is_bounded() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD_BYTES));
        assert_eq!(parse(long.as_bytes()), Err(HeadError::TooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(parse(many.as_bytes()), Err(HeadError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..9_000)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_cut_head_waits_for_the_rest(cut in any::<proptest::sample::Index>()) {
            let whole = request("/?token=abc");
            let cut = cut.index(whole.len());
            prop_assert_eq!(parse(&whole.as_bytes()[..cut]), Ok(None));
            let head = parse(whole.as_bytes()).unwrap().unwrap();
            prop_assert_eq!((head.token.as_deref(), head.length), (Some("abc"), whole.len()));
        }

        #[test]
        fn a_mangled_head_never_yields_a_token_that_is_not_in_it(
            at in any::<proptest::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut bytes = request("/?token=abc").into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(Some(Head { token: Some(token), .. })) = parse(&bytes) {
                prop_assert!(bytes.windows(token.len()).any(|window| window == token.as_bytes()));
            }
        }
    }
}
