//! How a message is written.

use serde::Serialize;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The payload and LF.
    Payload,
    /// The key, TAB, the payload and LF. A message without a key has nothing before the TAB.
    KeyAndPayload,
    /// One JSON object and LF.
    Json,
}

/// A message as JSON. Bytes that are UTF-8 are text, others hexadecimal digits.
#[derive(Serialize)]
struct Json<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

impl Form {
    /// Writes a message to the end of `out`.
    pub(crate) fn write(
        self,
        out: &mut Vec<u8>,
        id: impl Fn() -> String,
        key: Option<&[u8]>,
        payload: &[u8],
    ) {
        match self {
            Self::Payload => out.extend_from_slice(payload),
            Self::KeyAndPayload => {
                out.extend_from_slice(key.unwrap_or_default());
                out.push(b'\t');
                out.extend_from_slice(payload);
            }
            Self::Json => {
                let (key, key_hex) = key.map_or((None, None), text_or_hex);
                let (payload, payload_hex) = text_or_hex(payload);
                let json = Json {
                    id: &id(),
                    key,
                    key_hex,
                    payload,
                    payload_hex,
                };
                serde_json::to_writer(&mut *out, &json)
                    .expect("texts are always JSON, and memory is always written");
            }
        }
        out.push(b'\n');
    }
}

fn text_or_hex(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(hex(bytes))),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |four_bits: u8| char::from(b"0123456789abcdef"[usize::from(four_bits)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form, key: Option<&[u8]>, payload: &[u8]) -> String {
        let mut out = Vec::new();
        form.write(&mut out, || "1:2:-1:3".to_owned(), key, payload);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form_is_one_line() {
        assert_eq!(written(Form::Payload, Some(b"k"), b"a\r"), "a\r\n");
        assert_eq!(written(Form::Payload, None, b""), "\n");
        assert_eq!(written(Form::KeyAndPayload, Some(b"k"), b"a"), "k\ta\n");
        assert_eq!(written(Form::KeyAndPayload, None, b"a"), "\ta\n");
        assert_eq!(
            written(Form::Json, Some(b"k"), b"\"a\n"),
            "{\"id\":\"1:2:-1:3\",\"key\":\"k\",\"payload\":\"\\\"a\\n\"}\n"
        );
        assert_eq!(
            written(Form::Json, None, b"\xff\x00a"),
            "{\"id\":\"1:2:-1:3\",\"payload_hex\":\"ff0061\"}\n"
        );
        assert_eq!(
            written(Form::Json, Some(b"\x80"), b""),
            "{\"id\":\"1:2:-1:3\",\"key_hex\":\"80\",\"payload\":\"\"}\n"
        );
    }
}
