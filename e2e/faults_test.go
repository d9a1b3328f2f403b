package e2e

const (
	standsWhile   = "what was verified stands, marked in a `Warning` header, the log and `sealgate_trust_snapshots`, until it expires or `max-stale`; what never was is 503 with `Retry-After`, not \"unsigned\""
	standsFigures = "%v reads, all 200, the slowest took %v; marked after %v (`refresh: 1s`); Notary heard %v requests meanwhile. Never verified: 503 after %v, `Retry-After: %v`. Fresh %v after Notary was well"

	awayFigures   = "%v reads, those by tag %v, the slowest after %v; the registry heard %v requests. Served again %v after it was well"
	headerFigures = "%v of them: tag reads beside them, against a Sealgate without: %v, %v MiB more resident; the last was cut off after %v"
	slowFigures   = "%v of them: tag reads beside them, against a Sealgate without: %v, %v MiB more resident"
	goneFigures   = "%v at once: %v goroutines and %v descriptors before, %v and %v after, within %v"
	cutFigures    = "%v reads cut off after %v of TLS: their clients had %v to %v, and no whole answer; the registry heard %v requests"
)

func awayIs(status string) string {
	return "reads by tag are " + status + "; what goes by digest is passed on as it is"
}

// faults is the table of docs/reliability.md.
var faults = []fault{
	{"Notary refuses connections", standsWhile, "TestANotaryServerThatFails/refuses_connections", standsFigures, ""},
	{"Notary hangs up", "the same", "TestANotaryServerThatFails/hangs_up", standsFigures, ""},
	{"Notary takes requests and never answers", "the same", "TestANotaryServerThatFails/never_answers", standsFigures, ""},
	{"Notary answers 500", "the same", "TestANotaryServerThatFails/500", standsFigures, ""},
	{"Notary answers 429", "the same", "TestANotaryServerThatFails/429", standsFigures, ""},
	{"something before Notary answers 404", "the same", "TestANotaryServerThatFails/404_of_something_between", standsFigures, ""},
	{"the registry refuses connections", awayIs("502"), "TestARegistryThatFails/refuses_connections", awayFigures, ""},
	{"the registry hangs up", "the same", "TestARegistryThatFails/hangs_up", awayFigures, ""},
	{"the registry takes requests and never answers", awayIs("504"), "TestARegistryThatFails/never_answers", awayFigures, ""},
	{"the registry answers 500", "the same", "TestARegistryThatFails/500", awayFigures, ""},
	{"the registry answers 429", awayIs("429, with its `Retry-After`"), "TestARegistryThatFails/429", awayFigures, ""},
	{"the registry is cut off in the middle of a blob", "its client is cut off where it was; nobody asks anew in its name", "TestARegistryThatIsCutOffInABlob/cache_false", cutFigures, ""},
	{"the same, with a cache", "the same, and nothing is kept", "TestARegistryThatIsCutOffInABlob/cache_true", cutFigures, ""},
	{"10,000 idle connections", "memory is theirs and no more; nobody waits for them", "TestTenThousandIdleConnections",
		"%v TLS connections that have had an answer: %v MiB resident became %v MiB, %v KiB each; tag reads beside them, against a Sealgate without: %v; %v goroutines when they had gone", ""},
	{"headers that come a byte at a time", "cut off after 10 s; nobody waits for them", "TestHeadersThatNeverEnd/plain_HTTP_false", headerFigures, ""},
	{"the same over plain HTTP", "the same", "TestHeadersThatNeverEnd/plain_HTTP_true", headerFigures, ""},
	{"bodies that come a byte at a time", "nobody waits for them; a minute without a byte ends them", "TestSlowClients/send", slowFigures, ""},
	{"clients that read nothing of a blob", "nobody waits for them; ten minutes without a byte end them", "TestSlowClients/read", slowFigures, ""},
	{"clients gone in the middle of a blob", "what served them ends at once", "TestClientsThatHangUpInABlob/cache_false", goneFigures, ""},
	{"the same, with a cache", "the same", "TestClientsThatHangUpInABlob/cache_true", goneFigures, ""},
	{"descriptors used up", "silent connections make room (`limits.connections`); where requests use them up, further ones are refused; it serves again when it has some", "TestUsedUpDescriptors",
		"`ulimit -n` %v: beside %v silent connections others are served; of %v downloads at once %v begin; served again %v after they had gone", ""},
}
