//! A report as one page that needs nothing else: no network, no other file.
//!
//! The report's JSON is part of the page; its script draws everything from it. So the page cannot say anything else than
//! the JSON does, and the JSON can be taken out of the page again.
//!
//! ```text
//! page.html = <style> page.css · <script type="application/json"> the report · <script> page.js
//! ```
//!
//! Every number in a table cell carries where it is from (`data-of`, a JSON pointer) and its whole value (`data-value`).

use super::Report;

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");

/// The page.
pub fn html(report: &Report) -> serde_json::Result<String> {
    // "</script>" inside a string would end the element; JSON may write any character as its number.
    let json = serde_json::to_string(report)?.replace('<', "\\u003c");
    Ok(HTML.replace("/*css*/", CSS).replace("/*js*/", JS).replace("/*json*/", &json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Machine;
    use std::path::Path;

    #[test]
    fn a_report_comes_back_out_of_its_page_whatever_its_names_are() {
        let name = "</script><b>&amp; \"quoted\" /*css*/";
        let mut report = Report::new(name.to_owned(), Machine::here(Path::new(".")));
        report.fact(name, 1.5, "µs");
        let page = html(&report).expect("a report is JSON");
        let (_, rest) =
            page.split_once(r#"<script type="application/json" id="report">"#).expect("it is there");
        let (json, _) = rest.split_once("</script>").expect("it ends");
        let back: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(back, serde_json::to_value(&report).expect("JSON"));
        let page = page.replace("http://www.w3.org/2000/svg", "the namespace of SVG");
        for outside in ["http://", "https://", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "the page asks for something outside: {outside}");
        }
    }
}
