package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestTheStatusPageInABrowser: what is hidden, and why, is found by who can see,
// who cannot, who has a phone, and who lets no scripts run. With
// E2E_SCREENSHOTS, a directory, it takes the pictures of the README.
func TestTheStatusPageInABrowser(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	b := openBrowser(t)
	at := "http://" + w.admin

	b.size(t, 1280, 900, "light")
	b.do(t, chromedp.Navigate(at+"/"))
	b.wantText(t, "1 alarm", "rolled-back", watchedName+"/shop/web:nightly", "unsigned", "127.0.0.12, 127.0.0.15", "no-trust-data", "newly signed", "gone", "in 8 days: soon")
	b.fits(t, w, at)
	b.looksUp(t, at)
	b.compares(t, at)
	b.refreshes(t, w, at)
	b.quiet(t)
	b.worksWithoutScript(t, at)
	b.quiet(t)
	b.compares(t, strings.Replace(at, "127.0.0.1", statusName, 1))
	b.forgets() // that some headers mean nothing there
	if shots := os.Getenv("E2E_SCREENSHOTS"); shots != "" {
		b.shots(t, at, shots)
	}
	b.saysWhenNobodyAnswers(t, w, at)
}

// pages are those that are looked at.
func statusPages(at string) []string {
	return []string{at + "/", at + "/?q=web", at + "/denials", at + "/changes", at + "/repositories",
		at + "/repositories/" + watchedName + "/shop/web", at + "/repositories/" + watchedName + "/shop/ledger", at + "/repositories/no/such"}
}

// tooWide, lowContrast and unlabelled are expressions that list what is wrong with
// a page. WCAG 2.2, 1.4.10 and 1.4.3 (4.5 to 1), and what a screen reader needs.
const (
	// A phone zooms out where something is too wide, and innerWidth with it.
	tooWide = `(() => {
		const page = document.documentElement, room = page.clientWidth;
		return [...document.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > room + 1 && getComputedStyle(e).position !== "absolute")
			.map(e => e.tagName + " " + e.textContent.slice(0, 60)).concat(page.scrollWidth > room ? ["the page is " + page.scrollWidth + " wide"] : [])
	})()`
	lowContrast = `(() => {
		const rgb = c => { const p = c.match(/[\d.]+/g).map(Number); return p.length > 3 && p[3] === 0 ? null : p.slice(0, 3) };
		const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
		const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c) return c } return [255, 255, 255] };
		const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim() !== "");
		return [...document.body.querySelectorAll("*")].filter(own).map(e => {
			const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((a, b) => b - a);
			return [(a + 0.05) / (b + 0.05), e];
		}).filter(([ratio]) => ratio < 4.5).map(([ratio, e]) => ratio.toFixed(1) + " " + e.className + " " + e.textContent.slice(0, 40))
	})()`
	unlabelled = `[...document.querySelectorAll("th:not([scope]), input:not([id]), table:not(:has(thead))")].map(e => e.outerHTML)
		.concat([...document.querySelectorAll("input")].filter(i => i.labels.length === 0).map(e => e.outerHTML))
		.concat(document.querySelectorAll("h1").length === 1 ? [] : ["no one h1"])
		.concat(document.documentElement.lang === "en" && document.title !== "" ? [] : ["no language or title"])`
)

// fits looks at every page in every form.
func (b *browser) fits(t *testing.T, w *watched, at string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			b.size(t, width, 800, scheme)
			for _, page := range statusPages(at) {
				b.do(t, chromedp.Navigate(page))
				for what, expression := range map[string]string{"too wide": tooWide, "hard to read": lowContrast, "without a label": unlabelled} {
					if found := b.list(t, expression); len(found) > 0 {
						t.Errorf("%s at %d, %s: %s: %s", page, width, scheme, what, strings.Join(found, "\n"))
					}
				}
			}
		}
	}
	b.forgets() // a page that is not there is a 404
	b.size(t, 1280, 900, "light")
}

// looksUp searches by keyboard.
func (b *browser) looksUp(t *testing.T, at string) {
	t.Helper()
	b.do(t, chromedp.Navigate(at+"/"), chromedp.KeyEvent(kb.Tab))
	if first := b.list(t, `[document.activeElement.className]`); first[0] != "skip" {
		t.Errorf("the first that a keyboard reaches is %q", first)
	}
	b.do(t, chromedp.Focus(chromedp.CSS("#q")), chromedp.KeyEvent("rc1"+kb.Enter), chromedp.WaitVisible(chromedp.CSS("#filter")))
	b.wantText(t, watchedName+"/shop/web:1.6.0-rc1", "signed only in targets/qa, whose word does not count", "127.0.0.16")
	if text := b.text(t); strings.Contains(text, "shop/api") {
		t.Errorf("the search finds more than was looked for:\n%s", text)
	}
}

// compares asks the registry.
func (b *browser) compares(t *testing.T, at string) {
	t.Helper()
	b.do(t, chromedp.Navigate(at+"/repositories/"+watchedName+"/shop/web"), chromedp.Click(chromedp.CSS(".tools form[method=post] button")),
		chromedp.WaitVisible(chromedp.Search("//th[text()='In the registry']")))
	rows := b.list(t, `[...document.querySelectorAll("section:first-of-type tbody tr")].map(r => r.cells[0].textContent + " " + r.cells[3].textContent.trim().split(" sha256")[0])`)
	if got := strings.Join(rows, ", "); got != "1.3.9 not there, 1.4.0 the same, 1.4.1 the same, 1.5.0 the same, latest another, stable the same" {
		t.Errorf("got %s", got)
	}
}

// refreshes waits for something new without loading the page anew.
func (b *browser) refreshes(t *testing.T, w *watched, at string) {
	t.Helper()
	b.do(t, chromedp.Navigate(at+"/"), chromedp.Evaluate[chromedp.Void](`window.same = true`))
	w.pull(t, "127.0.0.18", "shop/web", "brand-new")
	b.do(t, chromedp.Poll[chromedp.Void](`document.querySelector("main").textContent.includes("brand-new")`, chromedp.WithPollingTimeout(20*time.Second)))
	if same := b.list(t, `[String(window.same)]`); same[0] != "true" {
		t.Error("the page was loaded anew")
	}
}

// worksWithoutScript does what matters with scripts off.
func (b *browser) worksWithoutScript(t *testing.T, at string) {
	t.Helper()
	b.scripts(t, false)
	b.do(t, chromedp.Navigate(at+"/"))
	b.wantText(t, "1 alarm", "shop/web:nightly")
	b.do(t, chromedp.Navigate(at+"/?q=rc1"))
	b.wantText(t, "shop/web:1.6.0-rc1")
	b.scripts(t, true)
}

// saysWhenNobodyAnswers: an old page must not pass for a good one.
func (b *browser) saysWhenNobodyAnswers(t *testing.T, w *watched, at string) {
	t.Helper()
	b.do(t, chromedp.Navigate(at+"/"))
	w.stop(20 * time.Second)
	b.do(t, chromedp.WaitVisible(chromedp.CSS("#live.lost")))
}

// shots takes the pictures.
func (b *browser) shots(t *testing.T, at, dir string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		b.size(t, 1180, 900, scheme)
		b.do(t, chromedp.Navigate(at+"/"))
		b.shoot(t, filepath.Join(dir, "status-"+scheme+".png"))
		b.do(t, chromedp.Navigate(at+"/repositories/"+watchedName+"/shop/web"), chromedp.Click(chromedp.CSS(".tools form[method=post] button")), chromedp.WaitVisible(chromedp.Search("//th[text()='In the registry']")))
		b.shoot(t, filepath.Join(dir, "repository-"+scheme+".png"))
	}
}
