//! The tokens of Rust code, as far as they tell what a file names: words and signs, grouped by brackets.

/// A token, or what stands between two brackets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Word(String),
    Sign(char),
    /// By its opening bracket.
    Group(char, Vec<Self>),
}

/// Reads code. Comments, strings, characters, numbers and lifetimes are no tokens.
pub(super) fn read(code: &str) -> Vec<Tree> {
    let mut lexer = Lexer {
        rest: code.chars().collect(),
        at: 0,
    };
    lexer.trees()
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
}

impl Lexer {
    /// As far as the closing bracket, or the end.
    fn trees(&mut self) -> Vec<Tree> {
        let mut trees = Vec::new();
        while let Some(letter) = self.next() {
            match letter {
                '/' if self.peek(0) == '/' => self.skip_while(|letter| letter != '\n'),
                '/' if self.peek(0) == '*' => self.skip_comment(),
                '"' => self.skip_quoted('"'),
                '\'' if self.peek(0) == '\\' || self.peek(1) == '\'' => self.skip_quoted('\''),
                '\'' => self.skip_while(is_of_word),
                '(' | '[' | '{' => trees.push(Tree::Group(letter, self.trees())),
                ')' | ']' | '}' => break,
                '0'..='9' => {
                    self.skip_while(is_of_word);
                    if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
                        self.next();
                    }
                }
                letter if is_of_word(letter) => {
                    let word = self.word(letter);
                    match (word.as_str(), self.peek(0)) {
                        ("b" | "c", '"') | ("b", '\'') => {
                            let quote = self.next().unwrap();
                            self.skip_quoted(quote);
                        }
                        ("r" | "br" | "cr", '"' | '#') => {
                            trees.extend(self.raw().map(Tree::Word));
                        }
                        _ => trees.push(Tree::Word(word)),
                    }
                }
                letter if letter.is_whitespace() => {}
                letter => trees.push(Tree::Sign(letter)),
            }
        }
        trees
    }

    /// Behind `r`: the name of `r#name`, or nothing after `r"..."` and `r#"..."#`.
    fn raw(&mut self) -> Option<String> {
        let start = self.at;
        self.skip_while(|letter| letter == '#');
        let marks = self.at - start;
        let letter = self.next()?;
        if letter != '"' {
            return Some(self.word(letter));
        }
        while let Some(letter) = self.next() {
            if letter == '"' && (0..marks).all(|mark| self.peek(mark) == '#') {
                self.at += marks;
                break;
            }
        }
        None
    }

    fn word(&mut self, first: char) -> String {
        let start = self.at;
        self.skip_while(is_of_word);
        let rest = &self.rest[start..self.at];
        [first].iter().chain(rest).collect()
    }

    fn skip_quoted(&mut self, quote: char) {
        while let Some(letter) = self.next().filter(|letter| *letter != quote) {
            if letter == '\\' {
                self.next();
            }
        }
    }

    /// Comments may stand in comments.
    fn skip_comment(&mut self) {
        let mut depth = 0;
        self.at -= 1;
        loop {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                ('\0', _) => return,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_while(&mut self, goes_on: impl Fn(char) -> bool) {
        while self
            .rest
            .get(self.at)
            .is_some_and(|letter| goes_on(*letter))
        {
            self.at += 1;
        }
    }

    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn next(&mut self) -> Option<char> {
        self.at += 1;
        self.rest.get(self.at - 1).copied()
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
