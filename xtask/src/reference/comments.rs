//! Comments of the contracts, as Markdown.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor};

/// The comment before each element, by file and path of the element.
pub(crate) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    pub(crate) fn of(pool: &DescriptorPool) -> Comments {
        let mut comments = HashMap::new();
        for file in pool.file_descriptor_protos() {
            for location in file.source_code_info.iter().flat_map(|info| &info.location) {
                if let Some(comment) = &location.leading_comments {
                    comments.insert((file.name().to_owned(), location.path.clone()), comment.clone());
                }
            }
        }
        Comments(comments)
    }

    /// The comment in paragraphs; none when there is no comment.
    pub(crate) fn paragraphs(&self, file: &FileDescriptor, path: &[i32]) -> Vec<String> {
        let comment = self.0.get(&(file.name().to_owned(), path.to_owned())).map_or("", String::as_str);
        let lines: Vec<&str> = comment.lines().map(str::trim).collect();
        let paragraphs = lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty());
        paragraphs.map(|lines| markdown(&lines.join(" "))).collect()
    }

    /// The first sentence of the comment.
    pub(crate) fn summary(&self, file: &FileDescriptor, path: &[i32]) -> String {
        let paragraph = self.paragraphs(file, path).into_iter().next().unwrap_or_default();
        paragraph.split_inclusive(". ").next().unwrap_or_default().trim_end().to_owned()
    }
}

/// Plain words as Markdown: what would format them is escaped, and names with an underscore (reasons, fields) are set as code. What stands
/// between backticks is code already.
fn markdown(words: &str) -> String {
    let mut text = String::new();
    for (number, part) in words.split('`').enumerate() {
        if number % 2 == 1 {
            text.push_str(&code(part));
        } else {
            part.split_inclusive(|c: char| !is_word(c)).for_each(|word| push_word(&mut text, word));
        }
    }
    text
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A word with the character that ended it.
fn push_word(text: &mut String, word: &str) {
    let (name, end) = word.split_at(word.find(|c| !is_word(c)).unwrap_or(word.len()));
    if name.contains('_') && name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        text.push_str(&code(name));
    } else {
        text.push_str(&name.replace('_', "\\_"));
    }
    for c in end.chars() {
        if matches!(c, '*' | '<' | '|' | '\\' | '[' | ']') {
            text.push('\\');
        }
        text.push(c);
    }
}

/// Text set as code, also inside a table.
pub(crate) fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words_in_markdown() {
        for (words, expected) in [
            ("Fails with NOT_FOUND.", "Fails with `NOT_FOUND`."),
            ("The occur_time, if told.", "The `occur_time`, if told."),
            ("张**, a***@example.com", "张\\*\\*, a\\*\\*\\*@example.com"),
            ("of a-z and \"_\"", "of a-z and \"\\_\""),
            ("several are separated by \"|\"", "several are separated by \"\\|\""),
            ("as `Member.masked_fields` says", "as `Member.masked_fields` says"),
            ("Vec<Lot>", "Vec\\<Lot>"),
        ] {
            assert_eq!(markdown(words), expected);
        }
    }
}
