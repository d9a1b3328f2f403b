// Package admin is what an operator scrapes, probes and steers: metrics,
// health and readiness on a listener of their own, and a control socket.
//
// It sees the rest of the program through small interfaces that it declares
// itself (State, Control, a readiness function), which the command implements.
//
// It refuses to know what a registry, a route or a policy is: it counts words
// that it is told. And it refuses to let a word that a client chose become a
// label: the number of time series depends on the configuration, never on
// traffic.
package admin
