// Package pages reads the project's Markdown for what can be held to it: the
// commands that it tells a reader to type, and what it says comes out. Package
// e2e runs them (TestTheDocumentsCommandsRun); this package runs nothing.
//
// A fenced block that is marked sh, bash or console holds commands. It is run,
// in the order of the page, unless a comment that readers do not see stands
// before it:
//
//	<!-- not run: why; shown by TestThatShowsIt -->
//
// Every test named in the reason has to exist. A block that is run may have a
// comment that says how:
//
//	<!-- run on client -->          on that host of the page's, not on its first
//	<!-- run exits 1 -->            the last command ends with this exit code, not 0
//	<!-- run until "serving" -->    in a terminal of its own: the last command goes
//	                                on to the page's end, where it gets Ctrl-C; the
//	                                page goes on once its output has these words
//
// and several of them in this order. A text block after it, in the same section
// and with no other block between, is what the commands write on both streams;
// "…" stands for any characters, and alone in a line for any lines. In a console
// block, lines that begin with "$ " are commands and the others what they write.
// A text block that is no output of the commands before it has a "not run"
// comment, too.
package pages
