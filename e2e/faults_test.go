package e2e

const (
	standsWhile   = "what was verified stands, marked in a `Warning` header, the log and `sealgate_trust_snapshots`, until it expires or `max-stale`; what never was is 503 with `Retry-After`, not \"unsigned\""
	standsFigures = "%v reads, all 200, the slowest took %v; marked after %v (`refresh: 1s`); Notary heard %v requests meanwhile. Never verified: 503 after %v, `Retry-After: %v`. Fresh %v after Notary was well"

	awayFigures   = "%v reads, those by tag %v, the slowest after %v; the registry heard %v requests. Served again %v after it was well"
	fullFigures   = "%v pulls while it was full and as it filled up, none failed; with room again it keeps"
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
	{"Notary is away for longer than `max-stale`", "503 with `Retry-After`, not \"unsigned\"", "TestVerifiedTrustStandsWhileNotaryIsAwayUntilMaxStale",
		"`max-stale: %v`: the last 200 was %v after the last contact; served again %v after Notary was back", "`trustcache` TestASnapshotStandsNoLongerThanMaxStale"},
	{"Notary's 404 for a known repository", "503 and an alarm, until it is back or `sealgate forget`", "TestTrustDataThatDisappearsIs503AndNotUnsigned",
		"503 and an alarm %v after it disappeared (`refresh: %v`)", ""},
	{"the clock jumps back or ahead", "back: an alarm, and what has not expired goes on; ahead: what expires by then is 503, and stays so when the clock is set right, until the operator removes the file `clock`", "TestTheClockJumps",
		"%v hours back: %v reads, all 200, %v alarm; a signature made then is seen after %v. %v days ahead, and right again: 503; without the file, served %v after the start", "`trustcache/state` TestTimeDoesNotGoBack, TestTimeDoesNotGoBackOverARestart, TestTimeOfTheFarFuture"},
	{"keys are rotated while serving", "each answer is of one generation, and none is older than the one before", "TestKeysRotateUnderLoad",
		"%v rotations under %v clients: %v reads, none wrong; the next signature seen after %v at most (`refresh: %v`)", ""},
	{"the registry refuses connections", awayIs("502"), "TestARegistryThatFails/refuses_connections", awayFigures, ""},
	{"the registry hangs up", "the same", "TestARegistryThatFails/hangs_up", awayFigures, ""},
	{"the registry takes requests and never answers", awayIs("504"), "TestARegistryThatFails/never_answers", awayFigures, ""},
	{"the registry answers 500", "the same", "TestARegistryThatFails/500", awayFigures, ""},
	{"the registry answers 429", awayIs("429, with its `Retry-After`"), "TestARegistryThatFails/429", awayFigures, ""},
	{"the registry is cut off in the middle of a blob", "its client is cut off where it was; nobody asks anew in its name", "TestARegistryThatIsCutOffInABlob/cache_false", cutFigures, ""},
	{"the same, with a cache", "the same, and nothing is kept", "TestARegistryThatIsCutOffInABlob/cache_true", cutFigures, ""},
	{"registry and Notary are killed under load, with a cache", "what is cached is served, marked; what is not is 503", "TestRegistryAndNotaryKilledUnderLoad",
		"%v clients: %v pulls of whole images before, during and after, none failed", ""},
	{"no room on the disk for the spool", "pulls go on uncached", "TestAFullDiskFailsNoPull/the_spool", fullFigures, ""},
	{"no room for the cache", "the same", "TestAFullDiskFailsNoPull/the_cache", fullFigures, ""},
	{"no room for either", "the same", "TestAFullDiskFailsNoPull/the_spool_and_the_cache", fullFigures, ""},
	{"no room for trust state", "what is stored is served, marked; what is newer only once it is stored", "TestAFullDiskHoldsTrustWhereItIs",
		"%v reads, all of the older version, marked after %v, `/readyz` %v; the newer one %v after there was room", ""},
	{"kill -9 while trust state is written", "the old or the new whole set", "TestKilledWhileTrustIsWritten",
		"%v kills as files were written: %v reads, none failed, none older than the one before", "`trustcache/state` TestKilledAtEveryPoint, TestKilledAtRandom"},
	{"kill -9 while the cache is written", "no blob is served that is not its digest's", "TestKilledWhileTheCacheIsWritten",
		"%v kills under load: %v reads with the registry gone, %v from the cache, none wrong", "`proxy/content` TestKilledAtRandom"},
	{"replicas on one bucket are killed, and one is lied to", "no version goes back, at any of them", "TestReplicasNeverGoBack",
		"%v replicas, %v kills, %v lies: %v reads, none older", ""},
	{"a bad reload", "nothing changes; an error, and a metric", "TestReloadUnderLoad",
		"%v clients, %v good and %v bad files in turn: %v answers, each of one policy", ""},
	{"a bad certificate file", "the one before stays; an error, and a metric", "TestPullsWhileCertificateFilesAreReplaced",
		"%v new certificates with %v refused reloads between: %v pulls, none failed", ""},
	{"renewals, and an ACME server that is away", "the certificate stays while it is valid", "TestPullsWhileAnACMEServerRenews",
		"%v renewals: %v pulls, none failed; a restart without the ACME server serves", ""},
	{"SIGTERM under load", "not ready at once; what was begun ends whole; exit code 0", "TestSIGTERMUnderLoad",
		"%v clients: %v answers whole, %v cut", ""},
	{"1,000 pulls of one cold tag", "one refresh, one fetch", "TestManyColdPullsOfOneTagAskOnce",
		"%v at once: %v refresh, %v fetch of the manifest", ""},
	{"1,000 pulls of one cold image, with a cache", "each blob is fetched once", "TestAThousandColdPullsOfOneImageReadItOnce",
		"%v pulls of %v MiB: every manifest and blob asked for once, peak %v MiB resident", ""},
	{"100,000 invented names", "no memory and no time series for them", "TestAFloodOfInventedNames",
		"after %v names %v MiB resident, after %v %v MiB; %v time series throughout", ""},
	{"all of it by turns, under load", "what was signed is never 404, what was not never 200, no other bytes than a digest's; a request fails only beside a fault", "TestSoak",
		"%v of pulls under %v faults: %v answers as if nothing was, %v failed beside a fault, none wrong. %v goroutines, %v descriptors and %v MiB resident became %v, %v and %v", ""},
	{"10,000 idle connections", "memory is theirs and no more; nobody waits for them", "TestTenThousandIdleConnections",
		"%v TLS connections that have had an answer: %v MiB resident became %v MiB, %v KiB each; tag reads beside them, against a Sealgate without: %v; %v goroutines when they had gone", ""},
	{"headers that come a byte at a time", "cut off after 10 s; nobody waits for them", "TestHeadersThatNeverEnd/plain_HTTP_false", headerFigures, ""},
	{"the same over plain HTTP", "the same", "TestHeadersThatNeverEnd/plain_HTTP_true", headerFigures, ""},
	{"bodies that come a byte at a time", "nobody waits for them; who goes on so is cut off", "TestSlowClients/send", slowFigures, "`proxy` TestATricklingSenderIsCut"},
	{"clients that read nothing of a blob", "nobody waits for them; who goes on so is cut off", "TestSlowClients/read", slowFigures, "`proxy` TestATricklingReaderIsCut"},
	{"clients gone in the middle of a blob", "what served them ends at once", "TestClientsThatHangUpInABlob/cache_false", goneFigures, ""},
	{"the same, with a cache", "the same", "TestClientsThatHangUpInABlob/cache_true", goneFigures, ""},
	{"descriptors used up", "silent connections make room (`limits.connections`); where requests use them up, further ones are refused; it serves again when it has some", "TestUsedUpDescriptors",
		"`ulimit -n` %v: beside %v silent connections others are served; of %v downloads at once %v begin; served again %v after they had gone", ""},
}
