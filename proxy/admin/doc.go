// Package admin is what an operator looks at, scrapes, probes and steers: the
// status page, metrics, health and readiness on a listener of their own, and a
// control socket.
//
// It sees the rest of the program through small interfaces that it declares
// itself (State, Watched, Control, a readiness function), which the command
// implements.
//
// The status page (pages.go) is one view (status.go, overview.go, repository.go,
// compare.go, search.go) of what is in memory, as JSON or by the templates in web
// (render.go); what happened lately is in Recent.
//
// It refuses to know what a registry, a route or a policy is: it counts and shows
// words that it is told. And it refuses to let a word that a client chose become a
// label: the number of time series depends on the configuration, never on
// traffic.
package admin
