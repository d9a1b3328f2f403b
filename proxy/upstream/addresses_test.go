package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestAddressesThatANameMayResolveTo(t *testing.T) {
	for address, want := range map[string]bool{
		"203.0.113.7": true, "10.0.0.1": true, "172.16.0.1": true, "192.168.1.1": true, "100.64.0.1": true, "2001:db8::1": true, "fd12:3456::1": true,
		"::ffff:10.0.0.1": true, "64:ff9b::203.0.113.7": true,
		"127.0.0.1": false, "127.1.2.3": false, "::1": false, "::ffff:127.0.0.1": false, "64:ff9b::127.0.0.1": false, "64:ff9b:1::10.0.0.1": true,
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "64:ff9b::169.254.169.254": false, "fe80::1": false, "fe80::1%lo": false,
		"0.0.0.0": false, "0.1.2.3": false, "::": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false, "240.0.0.1": false,
		"fd00:ec2::254": false, "fd20:ce::254": false, "100.100.100.200": false, "168.63.129.16": false, "192.0.0.192": false,
	} {
		if got := mayFollowTo(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %t", address, got)
		}
	}
}

// answering is a resolver for which every name has these addresses, the next of
// them at each question.
func answering(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	var served sync.WaitGroup
	t.Cleanup(served.Wait)
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		served.Go(func() {
			defer ours.Close()
			var size uint16
			for binary.Read(ours, binary.BigEndian, &size) == nil {
				question := make([]byte, size)
				if _, err := io.ReadFull(ours, question); err != nil {
					return
				}
				var m dnsmessage.Message
				if m.Unpack(question) != nil {
					return
				}
				m.Response = true
				m.Additionals = nil
				if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
					ip := netip.MustParseAddr(addresses[0]).As4()
					addresses = append(addresses[1:], addresses[0])
					m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: ip}}}
				}
				answer, _ := m.Pack()
				_, _ = ours.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			}
		})
		return theirs, nil
	}}
}

func TestANameThatResolvesToThisMachineIsNotFollowed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for _, tt := range []struct {
		host      string
		addresses []string
		want      error
	}{
		{"cdn.example.com", []string{"127.0.0.1"}, ErrRedirect},
		{"cdn.example.com", []string{"169.254.169.254"}, ErrRedirect},
		{"cdn.example.com", []string{"0.0.0.0"}, ErrRedirect},
		{"localhost.example.com", []string{"127.0.0.1"}, ErrRedirect},
		// What is written as an address, and localhost, somebody has listed.
		{"127.0.0.1", []string{"203.0.113.1"}, nil},
		{"localhost", []string{"127.0.0.1"}, nil},
	} {
		dial := guarded(net.Dialer{Resolver: answering(t, tt.addresses...)})
		conn, err := dial(t.Context(), "tcp4", net.JoinHostPort(tt.host, port))
		if tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s at %s: got %v", tt.host, tt.addresses, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// The address that is connected to decides, whatever the name server said
// before.
func TestANameThatIsReboundIsNotFollowed(t *testing.T) {
	resolver := answering(t, "203.0.113.1", "127.0.0.1")
	if first, err := resolver.LookupNetIP(t.Context(), "ip4", "cdn.example.com"); err != nil || first[0].String() != "203.0.113.1" {
		t.Fatalf("got %v, %v", first, err)
	}
	dial := guarded(net.Dialer{Resolver: resolver})
	if conn, err := dial(t.Context(), "tcp4", "cdn.example.com:443"); !errors.Is(err, ErrRedirect) {
		t.Errorf("got %v, %v", conn, err)
	}
}

func TestAGuardedTransportGuards(t *testing.T) {
	tr := NewTransport(Options{Guarded: true})
	defer tr.CloseIdleConnections()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	// In capitals it is not what somebody listed, and resolves all the same.
	if resp, err := ask(t, tr, "http://LOCALHOST:"+port+"/"); !errors.Is(err, ErrRedirect) {
		t.Errorf("got %v, %v", resp, err)
	}
}
