package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"sigs.k8s.io/secrets-store-csi-driver/provider/v1alpha1"
)

const (
	// How often the provider behind the socket changes, half of the times to the official one.
	defaultSwitches = 100
	// How long a mount by the new one is waited for: what the driver itself waits.
	switchTimeout = callTimeout
	// The version by which a mount of the stand-in is known.
	byStandIn = "stand-in"
)

// A provider that can take the socket over and leave it.
type contender interface {
	start() error
	stop() error
}

// Behaves at its start and its end as the official provider 3.1.1 does: it removes whatever is called aws.sock at both, and
// listens in between. Its mounts are answered at once.
type standIn struct {
	v1alpha1.UnimplementedCSIDriverProviderServer
	socket string
	server *grpc.Server
	served chan error
}

func (s *standIn) start() error {
	os.Remove(s.socket)
	listener, err := net.Listen("unix", s.socket)
	if err != nil {
		return err
	}
	s.server, s.served = grpc.NewServer(), make(chan error, 1)
	v1alpha1.RegisterCSIDriverProviderServer(s.server, s)
	go func() { s.served <- s.server.Serve(listener) }()
	return nil
}

func (s *standIn) stop() error {
	s.server.GracefulStop() // closes the listener, which removes the socket's name too
	os.Remove(s.socket)
	return <-s.served
}

func (s *standIn) Mount(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	return &v1alpha1.MountResponse{
		ObjectVersion: []*v1alpha1.ObjectVersion{{Id: "db.json", Version: byStandIn}},
		Files:         []*v1alpha1.File{{Path: "db.json", Mode: 0o644, Contents: []byte("{}")}},
	}, nil
}

// The provider as a process.
type process struct {
	directory, socket, aws, kubeconfig string

	command *exec.Cmd
	log     *os.File
}

func (p *process) start() error {
	p.command = exec.Command(os.Getenv("PROVIDER"), "--provider-volume="+p.directory, "--driver-writes-secrets=true", "--max-age=0s", "--failed-refresh-pause=0s")
	p.command.Env = []string{"AWS_ENDPOINT_URL=" + p.aws, "KUBECONFIG=" + p.kubeconfig}
	p.command.Stderr = p.log
	before, _ := os.Stat(p.socket)
	if err := p.command.Start(); err != nil {
		return err
	}
	// It has started once the socket is its own.
	for deadline := time.Now().Add(switchTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if now, err := os.Stat(p.socket); err == nil && !os.SameFile(before, now) {
			return nil
		}
	}
	return errors.New("the provider makes no socket")
}

func (p *process) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.command.Wait()
}

// Mounts over one connection, over and over, and notes who answered last and what failed.
type mounting struct {
	mutex    sync.Mutex
	last     string
	mounts   int
	failures []error
}

func (m *mounting) run(ctx context.Context, mount func() (*v1alpha1.MountResponse, error)) {
	for ctx.Err() == nil {
		answer, err := mount()
		m.mutex.Lock()
		m.mounts++
		if err != nil {
			m.failures = append(m.failures, err)
		} else if versions := answer.GetObjectVersion(); len(versions) > 0 {
			m.last = versions[0].GetVersion()
		}
		m.mutex.Unlock()
	}
}

func (m *mounting) waitFor(standIn bool) error {
	for deadline := time.Now().Add(switchTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		m.mutex.Lock()
		last, failures := m.last, errors.Join(m.failures...)
		m.mutex.Unlock()
		if failures != nil {
			return failures
		}
		if last != "" && (last == byStandIn) == standIn {
			return nil
		}
	}
	return errors.New("no mount by the new provider")
}

// Changes the provider behind the socket again and again, in both orders: the new one starts before the old one ends, and
// after it. Through a client that waits as the driver's does, no mount fails.
func switches(w *world) error {
	count, err := strconv.Atoi(os.Getenv("SWITCHES"))
	if err != nil {
		count = defaultSwitches
	}
	arena, err := w.arena("switches")
	if err != nil {
		return err
	}
	defer arena.log.Close()
	contenders := [2]contender{arena.version(), &standIn{socket: arena.socket}}
	if err := contenders[0].start(); err != nil {
		return err
	}
	mounts := &mounting{}
	end := arena.mountOverAndOver(mounts)
	began, current := time.Now(), 0
	err = mounts.waitFor(false)
	for number := 0; number < count && err == nil; number++ {
		next := 1 - current
		// Twice in one order, there and back, then twice in the other.
		if overlap := number%4 < 2; overlap {
			err = errors.Join(contenders[next].start(), contenders[current].stop())
		} else {
			err = errors.Join(contenders[current].stop(), contenders[next].start())
		}
		if err == nil {
			err = mounts.waitFor(next == 1)
		}
		if err != nil {
			err = fmt.Errorf("switch %d: %w", number+1, err)
		}
		current = next
	}
	end()
	err = errors.Join(err, contenders[current].stop())
	fmt.Printf("     %d switches, %d mounts, %d failed, %.0f s\n", count, mounts.mounts, len(mounts.failures), time.Since(began).Seconds())
	return errors.Join(err, errors.Join(mounts.failures...))
}

// A directory for a socket that changes hands, and a volume that is mounted through it.
type arena struct {
	*world
	directory, socket, target string

	client provider
	log    *os.File
}

func (w *world) arena(name string) (*arena, error) {
	directory := filepath.Join(w.directory, name)
	if err := os.Mkdir(directory, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(w.directory, name+".log"))
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(directory, "aws.sock")
	client, err := dial(socket)
	if err != nil {
		return nil, err
	}
	target, err := w.publish()
	return &arena{w, directory, socket, target, client, log}, err
}

// One process of the provider; each has its own.
func (a *arena) version() *process {
	kubeconfig := filepath.Join(a.world.directory, "kubeconfig")
	return &process{directory: a.directory, socket: a.socket, aws: a.aws, kubeconfig: kubeconfig, log: a.log}
}

// Until what is returned is called.
func (a *arena) mountOverAndOver(mounts *mounting) func() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		mounts.run(ctx, func() (*v1alpha1.MountResponse, error) { return a.mount(a.client, a.target, smallerClass) })
	})
	return func() {
		cancel()
		running.Wait()
	}
}
