package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/trustcache/guard"
	"go.uber.org/zap"
)

// challengeProtocol is what an ACME server speaks that looks whether a name is
// ours (RFC 8737 section 6.2).
const challengeProtocol = "acme-tls/1"

// Results of asking an ACME server for a certificate; words of a metric.
const (
	orderObtained = "obtained"
	orderRenewed  = "renewed"
	orderFailed   = "failed"
)

// acmeCertificates obtains a certificate for each configured name, and renews it
// in good time; what fails leaves the one before in place. No other name ever
// causes an order: a client that asks for one is shown the first certificate.
type acmeCertificates struct {
	settings config.ACME
	roots    [sha256.Size]byte // of the CAs in settings.CAFile
	log      zerolog.Logger
	count    func(result string)

	// before are good certificates that were shown when these came: another ACME
	// server has issued none yet, and a reload must not take away what there is.
	before map[string]*tls.Certificate

	storage *acmeStorage
	cache   *certmagic.Cache
	magic   *certmagic.Config
	issuer  *certmagic.ACMEIssuer

	wake    chan struct{} // a certificate is there
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	failures map[string]error // by name: why there is no certificate, or no newer one
}

// newACME loads the certificates that cfg's state directory keeps; start obtains
// the others. It is to be stopped, also where it was not started. count is told
// the result of each order; nil tells nobody. running are the certificates shown at
// present, nil at the start.
func newACME(cfg *config.Config, running *certificates, log zerolog.Logger, count func(result string)) (*acmeCertificates, error) {
	a := &acmeCertificates{
		settings: *cfg.TLS.ACME, log: log, count: count, storage: newACMEStorage(filepath.Join(cfg.StateDir, "acme")),
		wake: make(chan struct{}, 1), failures: map[string]error{}, before: map[string]*tls.Certificate{},
	}
	if count == nil {
		a.count = func(string) {}
	}
	template, err := acmeTemplate(cfg)
	if err != nil {
		return nil, err
	}
	if a.roots, err = rootsOf(a.settings); err != nil {
		return nil, err
	}
	template.Logger = zap.New(zapBridge{log: log})
	a.cache = certmagic.NewCache(a.cacheOptions(never))
	a.cache.SetOptions(a.cacheOptions(checkACME))
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:           a.storage,
		Logger:            template.Logger,
		OnEvent:           a.event,
		ShouldEmitFunc:    func(event string) bool { return event != "tls_get_certificate" },
		OCSP:              certmagic.OCSPConfig{DisableStapling: true}, // one server less to depend on
		DefaultServerName: a.settings.Domains[0],
	})
	a.issuer = certmagic.NewACMEIssuer(a.magic, template)
	a.magic.Issuers = []certmagic.Issuer{a.issuer}
	for _, domain := range a.settings.Domains {
		a.before[domain] = running.good(domain, time.Now())
		_, err := a.magic.CacheManagedCertificate(context.Background(), domain)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.failed(domain, err)
			log.Error().Str("domain", domain).Err(err).Msg("certificate that was kept cannot be used")
		}
	}
	return a, nil
}

// acmeTemplate is how an ACME server is asked. The ports are those of our own
// listeners, so that the library opens none beside them.
func acmeTemplate(cfg *config.Config) (certmagic.ACMEIssuer, error) {
	settings := cfg.TLS.ACME
	template := certmagic.ACMEIssuer{
		CA:                   settings.Directory,
		Email:                settings.Email,
		Agreed:               true, // who names a server in proxy.yaml has
		DisableHTTPChallenge: settings.HTTPListen == "",
		NewAccountFunc: func(_ context.Context, _ *certmagic.ACMEIssuer, account acme.Account) (acme.Account, error) {
			// The library looks for an address where it is given none, and where two
			// orders begin at once finds its own placeholder.
			account.Contact = nil
			if settings.Email != "" {
				account.Contact = []string{"mailto:" + settings.Email}
			}
			return account, nil
		},
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return template, err
	}
	template.ListenHost = host
	template.AltTLSALPNPort, _ = strconv.Atoi(port) // config has checked it
	if settings.HTTPListen != "" {
		_, port, _ := net.SplitHostPort(settings.HTTPListen)
		template.AltHTTPPort, _ = strconv.Atoi(port)
	}
	if settings.CAFile == "" {
		return template, nil
	}
	certificates, err := config.LoadCertificates(settings.CAFile)
	if err != nil {
		return template, fmt.Errorf("tls.acme.ca-file: %w", err)
	}
	template.TrustedRoots = x509.NewCertPool()
	for _, cert := range certificates {
		template.TrustedRoots.AddCert(cert)
	}
	return template, nil
}

// rootsOf changes with the CAs that the ACME server is trusted by.
func rootsOf(settings config.ACME) (sum [sha256.Size]byte, err error) {
	if settings.CAFile == "" {
		return sum, nil
	}
	certificates, err := config.LoadCertificates(settings.CAFile)
	if err != nil {
		return sum, fmt.Errorf("tls.acme.ca-file: %w", err)
	}
	all := sha256.New()
	for _, cert := range certificates {
		all.Write(cert.Raw)
	}
	return [sha256.Size]byte(all.Sum(nil)), nil
}

// same is whether these go on serving a configuration with these settings.
func (a *acmeCertificates) same(settings config.ACME) bool {
	roots, err := rootsOf(settings)
	return err == nil && roots == a.roots && reflect.DeepEqual(settings, a.settings)
}

const (
	// checkACME is how often it is looked for certificates that need renewal; more
	// often where they are short-lived.
	checkACME = 10 * time.Minute
	// jobsEnd is how long a stop waits for orders that were given up to notice it.
	jobsEnd = 5 * time.Second
	never   = 365 * 24 * time.Hour
)

func (a *acmeCertificates) cacheOptions(check time.Duration) certmagic.CacheOptions {
	return certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		Logger:           zap.New(zapBridge{log: a.log}),
		// The library decides by it what is urgent; the looking we do ourselves, in a
		// goroutine that ends when it is told to.
		RenewCheckInterval: check,
		OCSPCheckInterval:  never,
	}
}

// start obtains what is missing and renews what is there, until stop. The
// listeners that answer challenges are open.
func (a *acmeCertificates) start(panicked func(*guard.Panic)) {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.running.Go(func() { guard.Loop(ctx, a.renew, panicked) })
	if err := a.magic.ManageAsync(ctx, a.settings.Domains); err != nil {
		a.log.Error().Err(err).Msg("certificates cannot be obtained")
	}
}

// stop ends what start began.
func (a *acmeCertificates) stop() {
	if a.cancel != nil {
		a.cancel()
	}
	a.running.Wait()
	a.cache.Stop()
	a.storage.close(jobsEnd)
}

// renew looks for certificates that need it, until ctx ends.
func (a *acmeCertificates) renew(ctx context.Context) {
	for {
		check := a.checkInterval()
		a.cache.SetOptions(a.cacheOptions(check))
		if err := a.cache.RenewManagedCertificates(ctx); err != nil {
			a.log.Error().Err(err).Msg("certificates cannot be renewed")
		}
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-time.After(check):
		}
	}
}

// checkInterval is a thirtieth of the shortest life of a certificate, so that
// the third of it in which certmagic renews has room for several attempts.
func (a *acmeCertificates) checkInterval() time.Duration {
	check := checkACME
	for _, domain := range a.settings.Domains {
		if cert := a.certificate(domain); cert != nil {
			check = min(check, cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)/30)
		}
	}
	return max(check, time.Second)
}

// event is what certmagic tells of what it does.
func (a *acmeCertificates) event(_ context.Context, event string, data map[string]any) error {
	domain, _ := data["identifier"].(string)
	renewal, _ := data["renewal"].(bool)
	switch event {
	case "cached_managed_cert":
		select {
		case a.wake <- struct{}{}:
		default:
		}
	case "cert_obtained":
		a.failed(domain, nil)
		result := orderObtained
		if renewal {
			result = orderRenewed
		}
		a.count(result)
		a.log.Info().Str("domain", domain).Bool("renewal", renewal).Msg("certificate obtained")
	case "cert_failed":
		err, _ := data["error"].(error)
		if errors.Is(err, context.Canceled) {
			return nil // a stop, or a reload
		}
		a.failed(domain, err)
		a.count(orderFailed)
		a.log.Error().Str("domain", domain).Bool("renewal", renewal).Err(err).Msg("certificate cannot be obtained, one from before stays")
	}
	return nil
}

func (a *acmeCertificates) failed(domain string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures[domain] = err
}

// certificate is the one for a name that lasts longest, or else the one from
// before; nil where there is none.
func (a *acmeCertificates) certificate(domain string) *tls.Certificate {
	var best *tls.Certificate
	for _, c := range a.cache.AllMatchingCertificates(domain) {
		if best == nil || c.Leaf.NotAfter.After(best.Leaf.NotAfter) {
			best = &c.Certificate
		}
	}
	if best == nil {
		return a.before[domain]
	}
	return best
}

// serverName is the name that a client asks for, as domains are spelt.
func serverName(hello *tls.ClientHelloInfo) string {
	return strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
}

// challenges is whether this is an ACME server that looks whether a name is
// ours. It offers nothing else (RFC 8737 section 3), and gets nothing else.
func (a *acmeCertificates) challenges(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == challengeProtocol && slices.Contains(a.settings.Domains, serverName(hello))
}

// get chooses the certificate of the name that is asked for, else the first of
// the configured names that has one.
func (a *acmeCertificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if a.challenges(hello) {
		return a.magic.GetCertificate(hello)
	}
	for _, domain := range append([]string{serverName(hello)}, a.settings.Domains...) {
		if !slices.Contains(a.settings.Domains, domain) {
			continue
		}
		if cert := a.certificate(domain); cert != nil {
			return cert, nil
		}
	}
	return nil, errors.New("there is no certificate yet")
}

// usable is nil while one of the certificates is within its validity.
func (a *acmeCertificates) usable(now time.Time) error {
	var first error
	for _, domain := range a.settings.Domains {
		err := a.valid(domain, now)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (a *acmeCertificates) valid(domain string, now time.Time) error {
	cert := a.certificate(domain)
	if cert != nil && validAt(cert, now) == nil {
		return nil
	}
	a.mu.Lock()
	err := a.failures[domain]
	a.mu.Unlock()
	switch {
	case err != nil:
		return fmt.Errorf("tls.acme: no valid certificate for %q: %w", domain, err)
	case cert != nil:
		return fmt.Errorf("tls.acme: the certificate for %q is %w", domain, validAt(cert, now))
	}
	return fmt.Errorf("tls.acme: no certificate for %q yet: it is being obtained", domain)
}

// answer answers an HTTP-01 challenge (RFC 8555 section 8.3) for a configured
// name, and says whether the request was one.
func (a *acmeCertificates) answer(w http.ResponseWriter, r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return slices.Contains(a.settings.Domains, strings.ToLower(host)) && a.issuer.HandleHTTPChallenge(w, r)
}
