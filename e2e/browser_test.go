package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// statusName is a name of the machine, for the browser alone. Over plain HTTP a
// browser trusts it less than an address of loopback.
const statusName = "gate.test"

// browser is a headless Chromium with one page.
type browser struct {
	ctx context.Context

	mu       sync.Mutex
	problems []string // what its console said of errors: exceptions, failed loads, violations of the policy
}

// openBrowser starts one with a profile of its own, which ends with the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	profile := must(os.MkdirTemp(suite.dir, "chromium-"))(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.UserDataDir(profile), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("host-resolver-rules", "MAP "+statusName+" 127.0.0.1"), chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.Env(environment("HOME="+profile)...), chromedp.WSURLReadTimeout(time.Minute))
	starting, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(starting)
	b := &browser{ctx: ctx}
	err := chromedp.Listen(ctx, b.listen) // which starts it
	t.Cleanup(func() {
		end()
		stop()
	})
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) listen(event any) {
	var said string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		said = fmt.Sprintf("exception: %s at %s:%d", e.ExceptionDetails.Text, e.ExceptionDetails.URL, e.ExceptionDetails.LineNumber)
	case *runtime.EventConsoleAPICalled:
		said = fmt.Sprintf("console.%s", e.Type)
	case *log.EventEntryAdded:
		said = fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, said)
}

// quiet fails where the console has said something.
func (b *browser) quiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) > 0 {
		t.Errorf("the browser's console says:\n%s", strings.Join(b.problems, "\n"))
	}
}

// forgets what the console has said.
func (b *browser) forgets() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = nil
}

// do has things done, one after the other, within a minute.
func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// text is that of the page's main part.
func (b *browser) text(t *testing.T) string {
	t.Helper()
	return must(chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("main"))))(t)
}

// wantText fails unless the page has all of these.
func (b *browser) wantText(t *testing.T, all ...string) {
	t.Helper()
	text := b.text(t)
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q:\n%s", want, text)
		}
	}
}

// size makes the window so large, and scheme the colours that its user prefers.
func (b *browser) size(t *testing.T, width, height int64, scheme string) {
	t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500})
	if err == nil {
		_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// list is what an expression of the page's gives.
func (b *browser) list(t *testing.T, expression string) []string {
	t.Helper()
	return must(chromedp.Run(b.ctx, chromedp.Evaluate[[]string](expression)))(t)
}

// scripts lets the page's scripts run, or not.
func (b *browser) scripts(t *testing.T, run bool) {
	t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !run}); err != nil {
		t.Fatal(err)
	}
}

// shoot takes a picture of the window.
func (b *browser) shoot(t *testing.T, file string) {
	t.Helper()
	picture := must(png.Decode(bytes.NewReader(must(chromedp.Run(b.ctx, chromedp.CaptureScreenshot()))(t))))(t)
	var small bytes.Buffer
	err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, fewColours(picture))
	if err == nil {
		err = os.WriteFile(file, small.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fewColours is a picture in the 256 colours that it has most of, which makes it a
// third as large: the others are between those, at the edges of letters.
func fewColours(picture image.Image) image.Image {
	uses, bounds := map[color.Color]int{}, picture.Bounds()
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			uses[picture.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(uses), func(a, b color.Color) int { return uses[b] - uses[a] })
	palette := color.Palette(colours[:min(256, len(colours))])
	nearest := map[color.Color]uint8{}
	for _, c := range colours {
		nearest[c] = uint8(palette.Index(c))
	}
	few := image.NewPaletted(bounds, palette)
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			few.SetColorIndex(x, y, nearest[picture.At(x, y)])
		}
	}
	return few
}
