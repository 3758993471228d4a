// vcenter: a vCenter for tests. govmomi's simulator, with what a test needs around it: see docs/lab.md.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator" // its /rest: content library
)

type options struct {
	listen, user, pass string
	cert, key          string
	verbose            bool
	lab                settings
}

// settings are what the middleware and the mends are told on the command line.
type settings struct {
	mend      bool
	task, rtt time.Duration
	page      int
	api       string
	guestNet  string
	boot      time.Duration
	onPower   string
	template  string
}

func parse(m *simulator.Model) options {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "host:port")
	flag.StringVar(&o.user, "user", "", "the only accepted user (default: any)")
	flag.StringVar(&o.pass, "pass", os.Getenv("LAB_VCENTER_PASSWORD"), "its password (default: $LAB_VCENTER_PASSWORD)")
	flag.StringVar(&o.cert, "cert", "", "certificate, PEM (default: one is made)")
	flag.StringVar(&o.key, "key", "", "its key")
	flag.BoolVar(&o.verbose, "v", false, "log on standard error")
	flag.IntVar(&m.Datacenter, "dc", 1, "datacenters")
	flag.IntVar(&m.Cluster, "cluster", 1, "clusters of each datacenter")
	flag.IntVar(&m.ClusterHost, "host", 3, "hosts of each cluster")
	flag.IntVar(&m.Host, "standalone", 0, "standalone hosts of each datacenter")
	flag.IntVar(&m.Machine, "vm", 2, "VMs of each cluster")
	flag.IntVar(&m.Datastore, "ds", 1, "datastores of each datacenter")
	flag.IntVar(&m.Portgroup, "pg", 1, "distributed port groups of each datacenter")
	flag.DurationVar(&simulator.SessionIdleTimeout, "idle", 0, "sessions end after so long without a call")
	flag.BoolVar(&o.lab.mend, "mend", true, "mend what the simulator gets wrong")
	flag.DurationVar(&o.lab.task, "task", 0, "tasks take so long, and are answered at once")
	flag.DurationVar(&o.lab.rtt, "rtt", 0, "each request takes so much longer")
	flag.IntVar(&o.lab.page, "page", 0, "objects of a page of RetrievePropertiesEx at most")
	flag.StringVar(&o.lab.api, "api", "8.0.3.0", "newest API version")
	flag.StringVar(&o.lab.guestNet, "guest-net", "10.9", "first two octets of the guests' addresses; empty: no guests")
	flag.DurationVar(&o.lab.boot, "boot", 0, "a guest has addresses so long after power-on")
	flag.StringVar(&o.lab.onPower, "on-power", "", "program run as: PROGRAM on|off|gone|kept|back UUID PATH")
	flag.StringVar(&o.lab.template, "template", "", "name of a Photon template to put in each datacenter")
	flag.Parse()
	return o
}

func main() {
	m := simulator.VPX()
	o := parse(m)
	if !o.verbose {
		log.SetOutput(io.Discard)
	}
	stop := make(chan os.Signal, 1) // before "ready" is said: a test may stop it at once
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() { // the process that started it is gone, in whatever way
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop <- syscall.SIGTERM
	}()
	place, err := os.MkdirTemp("", "vcenter-") // the simulator leaves five files for each VM in it
	if err == nil {
		err = os.Setenv("TMPDIR", place)
	}
	var lab *lab
	if err == nil {
		lab, err = serve(m, o)
	}
	if err != nil {
		_ = os.RemoveAll(place)
		fmt.Fprintln(os.Stderr, "vcenter:", err)
		os.Exit(1)
	}
	<-stop
	lab.guests.hooks.end()
	_ = os.RemoveAll(place)
}

func serve(m *simulator.Model, o options) (*lab, error) {
	begin := time.Now()
	certificate, err := certificate(o.cert, o.key, o.listen)
	if err != nil {
		return nil, err
	}
	if err := m.Create(); err != nil {
		return nil, err
	}
	m.Service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	m.Service.RegisterEndpoints = true
	m.Service.Listen = &url.URL{Host: o.listen}
	if o.user != "" {
		m.Service.Listen.User = url.UserPassword(o.user, o.pass)
	}
	server := m.Service.NewServer()
	// Nobody knows the port yet: the handler can be replaced.
	lab := newLab(server.Config.Handler, o.lab, o.user, o.pass)
	server.Config.Handler = lab
	der := certificate.Certificate[0]
	sum := sha256.Sum256(der)
	return lab, json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"address":     server.URL.Host,
		"sha256":      hex.EncodeToString(sum[:]),
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"seconds":     time.Since(begin).Seconds(),
	})
}
