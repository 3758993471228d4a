"""One model of what came of hosts, and its renderings: HTML, Markdown, JUnit, JSON, metrics, a view in the browser."""
