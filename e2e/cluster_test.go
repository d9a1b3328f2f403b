package e2e

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// cluster is several Sealgates on one bucket, each with a state directory of its
// own, behind a balancer at the registry's name.
type cluster struct {
	*world
	bucket   *bucket
	replicas []*gate
	turn     atomic.Uint32
}

// newCluster is a cluster without replicas, before a world in which the repository
// team/app has been begun.
func newCluster(t *testing.T, o registryOptions) *cluster {
	t.Helper()
	c := &cluster{world: ownWorld(t, o)}
	c.bucket = startBucket(t, c.dir, c.ca)
	c.mustBegin(t, "team/app")
	c.balance(t)
	return c
}

// join starts one more replica, with the cluster's settings as change leaves them.
func (c *cluster) join(t *testing.T, change func(*settings)) *gate {
	t.Helper()
	g := c.another(t, func(s *settings) {
		s.storage, s.env = c.bucket.storage(c.bucket.addr), c.bucket.env()
		if change != nil {
			change(s)
		}
	})
	c.replicas = append(c.replicas, g)
	return g
}

// crash ends a replica at once, and comeBack starts it again as it was.
func (g *gate) crash() {
	_ = g.cmd.Process.Kill() // an error says that it has ended
	<-g.done
}

func (g *gate) comeBack() error {
	log := filepath.Join(filepath.Dir(g.config), fmt.Sprintf("sealgate-%d.log", time.Now().UnixNano()))
	again, err := start("sealgate", log, g.env, suite.sealgate, "serve", "--config", g.config)
	if err != nil {
		return err
	}
	g.process = again
	return again.ready(20*time.Second, g.ca.answers(g.url+"/v2/"))
}

// balance carries connections to the registry's name to the replicas in turn, past
// those that take none.
func (c *cluster) balance(t *testing.T) {
	t.Helper()
	l := must(net.Listen("tcp", c.listen))(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(near)
		}
	}()
}

func (c *cluster) carry(near net.Conn) {
	defer near.Close()
	for range 20 {
		g := c.replicas[int(c.turn.Add(1))%len(c.replicas)]
		far, err := net.Dial("tcp", g.listen)
		if err != nil {
			continue
		}
		defer far.Close()
		go func() {
			_, _ = io.Copy(far, near)
			_ = far.Close()
		}()
		_, _ = io.Copy(near, far)
		return
	}
}

// front is how clients reach the cluster.
func (c *cluster) front() *gate {
	return &gate{process: c.replicas[0].process, url: "https://" + c.listen, ca: c.ca}
}
