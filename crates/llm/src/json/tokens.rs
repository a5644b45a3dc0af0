//! One token after another, with the grammar checked on the way. The state is three words: a place,
//! a bit per open bracket, and what may come next; so no document can exhaust a stack.

use super::JsonError;
use super::lexer::{self, Text};

/// How many brackets may be open at once (one bit each). No vendor's request needs twenty.
pub const MAX_DEPTH: u32 = 64;

/// A piece of a JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// The name of a member; its colon is consumed with it.
    Key(Text<'a>),
    /// A string that is a value.
    String(Text<'a>),
    /// A number, as written.
    Number(&'a str),
    /// `true` or `false`
    Boolean(bool),
    /// `null`
    Null,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    ValueOrArrayEnd,
    Key,
    KeyOrObjectEnd,
    CommaOrEnd,
    Nothing,
}

/// Reads one document, which must fill the text but for white space around it.
pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// Offset of the first byte of the token read last.
    token_start: usize,
    /// A bit per open bracket, the innermost lowest: 1 is an object.
    open: u64,
    depth: u32,
    next: Next,
}

impl<'a> Tokens<'a> {
    /// Starts at the first byte of `text`.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            token_start: 0,
            open: 0,
            depth: 0,
            next: Next::Value,
        }
    }

    /// Offset of the first byte of the token read last.
    pub fn token_start(&self) -> usize {
        self.token_start
    }

    /// Offset after the token read last (after the colon, if it was a key).
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Brackets open after the token read last.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The next token; `None` once the document is complete and nothing follows it.
    pub fn read(&mut self) -> Result<Option<Token<'a>>, JsonError> {
        self.skip_white_space();
        if self.next == Next::CommaOrEnd && self.peek() == Some(b',') {
            self.advance(1);
            self.next = if self.in_object() {
                Next::Key
            } else {
                Next::Value
            };
            self.skip_white_space();
        }
        self.token_start = self.at;
        match (self.next, self.peek()) {
            (Next::Nothing, None) => Ok(None),
            (Next::Nothing, Some(_)) => Err(self.expected("the end of the document")),
            (Next::Key | Next::KeyOrObjectEnd, Some(b'"')) => self.key().map(Some),
            (Next::KeyOrObjectEnd | Next::CommaOrEnd, Some(b'}')) if self.in_object() => {
                Ok(Some(self.close(Token::ObjectEnd)))
            }
            (Next::ValueOrArrayEnd | Next::CommaOrEnd, Some(b']')) if !self.in_object() => {
                Ok(Some(self.close(Token::ArrayEnd)))
            }
            (Next::Value | Next::ValueOrArrayEnd, Some(byte)) => self.value(byte).map(Some),
            (Next::Value | Next::ValueOrArrayEnd, None) => Err(self.expected("a value")),
            (Next::Key | Next::KeyOrObjectEnd, _) => Err(self.expected("a member name")),
            (Next::CommaOrEnd, _) => Err(self.expected("a comma or a closing bracket")),
        }
    }

    /// Reads on to the end of the value whose first token was `first`.
    pub fn skip_rest_of(&mut self, first: Token<'a>) -> Result<(), JsonError> {
        if matches!(first, Token::ObjectStart | Token::ArrayStart) {
            let outside = self.depth.saturating_sub(1);
            while self.depth > outside {
                self.read()?;
            }
        }
        Ok(())
    }

    fn key(&mut self) -> Result<Token<'a>, JsonError> {
        let (name, end) = lexer::string(self.text, self.at)?;
        self.at = end;
        self.skip_white_space();
        if self.peek() != Some(b':') {
            return Err(self.expected("a colon"));
        }
        self.advance(1);
        self.next = Next::Value;
        Ok(Token::Key(name))
    }

    fn value(&mut self, first: u8) -> Result<Token<'a>, JsonError> {
        match first {
            b'{' => return self.open(Token::ObjectStart, 1, Next::KeyOrObjectEnd),
            b'[' => return self.open(Token::ArrayStart, 0, Next::ValueOrArrayEnd),
            _ => {}
        }
        let token = match first {
            b'"' => {
                let (text, end) = lexer::string(self.text, self.at)?;
                self.at = end;
                Token::String(text)
            }
            b'-' | b'0'..=b'9' => {
                let (number, end) = lexer::number(self.text, self.at)?;
                self.at = end;
                Token::Number(number)
            }
            b't' => self.literal("true", Token::Boolean(true))?,
            b'f' => self.literal("false", Token::Boolean(false))?,
            b'n' => self.literal("null", Token::Null)?,
            _ => return Err(self.expected("a value")),
        };
        self.after_value();
        Ok(token)
    }

    fn literal(&mut self, word: &'static str, token: Token<'a>) -> Result<Token<'a>, JsonError> {
        if self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            self.advance(word.len());
            Ok(token)
        } else {
            Err(self.expected("a value"))
        }
    }

    fn open(&mut self, token: Token<'a>, bit: u64, next: Next) -> Result<Token<'a>, JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.advance(1);
        self.depth = self.depth.saturating_add(1);
        self.open = (self.open << 1) | bit;
        self.next = next;
        Ok(token)
    }

    fn close(&mut self, token: Token<'a>) -> Token<'a> {
        self.advance(1);
        self.depth = self.depth.saturating_sub(1);
        self.open >>= 1;
        self.after_value();
        token
    }

    fn after_value(&mut self) {
        self.next = if self.depth == 0 {
            Next::Nothing
        } else {
            Next::CommaOrEnd
        };
    }

    fn in_object(&self) -> bool {
        self.open & 1 == 1
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.advance(1);
        }
    }

    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax {
            at: self.at,
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn check(text: &str) -> Result<usize, JsonError> {
        let mut tokens = Tokens::new(text);
        let mut count = 0;
        while tokens.read()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn documents_of_every_shape_are_read_to_their_end() {
        for (text, tokens) in [
            ("1", 1),
            (" \r\n\t\"a\" ", 1),
            ("[]", 2),
            ("{}", 2),
            ("[1,[2,{\"a\":[]}],null]", 12),
            ("{\"a\":true,\"b\":{\"c\":false}}", 9),
        ] {
            assert_eq!(check(text), Ok(tokens), "{text}");
        }
    }

    #[test]
    fn documents_that_are_not_json_are_refused() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "}",
            "]",
            "[}",
            "{]",
            "{\"a\"]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{,}",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{a:1}",
            "{1:1}",
            "{'a':1}",
            "1 2",
            "{}{}",
            "{} x",
            "01",
            "+1",
            "NaN",
            "Infinity",
            "nul",
            "truefalse",
            "tru",
            "\"a",
            "[\"a\"",
            "/* c */ {}",
            "{}//",
            "\u{a0}{}",
            "{}\0",
            "{\"a\":1]",
            "[1}",
        ] {
            assert!(check(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn sixty_four_levels_pass_and_the_next_one_does_not() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(64)), Ok(128));
        assert_eq!(check(&nested(65)), Err(JsonError::TooDeep { at: 64 }));
        assert_eq!(
            check(&"{\"a\":[".repeat(30_000)),
            Err(JsonError::TooDeep { at: 32 * 6 })
        );
    }

    #[test]
    fn brackets_of_mixed_kinds_are_matched_to_the_last_level() {
        let open = "{\"a\":[".repeat(32);
        let close = "]}".repeat(32);
        assert!(check(&format!("{open}{close}")).is_ok());
        assert!(check(&format!("{open}}}{close}")).is_err());
    }

    #[test]
    fn a_skipped_value_ends_where_it_ends() {
        let mut tokens = Tokens::new("[{\"a\":[1,2]},7]");
        tokens.read().unwrap();
        let object = tokens.read().unwrap().unwrap();
        assert_eq!(object, Token::ObjectStart);
        tokens.skip_rest_of(object).unwrap();
        assert_eq!(tokens.read().unwrap(), Some(Token::Number("7")));
    }
}
