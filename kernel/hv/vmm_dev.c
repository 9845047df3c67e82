/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/vmm (include/abi/vmm.h): what a vmx process may ask. Every argument is copied in once and checked here or in the function
 * that it is handed to; every buffer of the kernel is sized by the kernel. The handle's file holds one reference to its VM, and a
 * system call holds the file, so the VM is there as long as any call on it.
 */
#include "fs/fs.h"
#include "hv/hv_priv.h"

#define O_RDWR 2
#define LOAD_MAX MIB(8)

static struct vm *vm_of(struct file *f) { return f->object; }

/* ---- guest memory as the handle's content ---- */
static bool interrupted(void) { return current->kill || current->signalled; }

static int64_t guest_copy(struct vm *vm, uva_t buf, uint64_t n, uint64_t at, bool write)
{
	uint8_t *page = kpage_alloc(MT_HV);
	uint64_t done = 0;
	int r = 0;

	if (!page)
		return -ENOMEM;
	while (done < n && r == 0 && !(done && interrupted())) {
		uint64_t len = MIN(n - done, PAGE_SIZE - ((at + done) & PAGE_MASK));

		if (write) {
			r = arch_user_read(page, uva(buf.v + done), len);
			r = r ? r : gmem_write(vm, gpa(at + done), page, len);
		} else {
			r = gmem_read(vm, gpa(at + done), page, len);
			r = r ? r : arch_user_write(uva(buf.v + done), page, len);
		}
		done += r == 0 ? len : 0;
	}
	kpage_free(page);
	return done ? (int64_t)done : r;
}

static int64_t vm_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	int64_t r = guest_copy(vm_of(f), buf, n, *pos, false);

	*pos += r > 0 ? (uint64_t)r : 0;
	return r;
}

static int64_t vm_write(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	int64_t r = guest_copy(vm_of(f), buf, n, *pos, true);

	*pos += r > 0 ? (uint64_t)r : 0;
	return r;
}

static int64_t vm_mmap(struct file *f, struct aspace *as, uint64_t offset, uint64_t len, int prot)
{
	struct vm *vm = vm_of(f);
	uint64_t i = (offset - VMM_RUN_OFFSET(0)) >> PAGE_SHIFT;

	if (offset < VMM_RUN_OFFSET(0) || offset & PAGE_MASK || i >= vm->config.vcpus || len > PAGE_SIZE || prot & PROT_EXEC)
		return -EINVAL;
	return vcpu_map_run_page(vm->vcpu[i], as, prot);
}

static void vm_release(struct file *f) { vm_unref(vm_of(f)); }

/* ---- ioctls on a VM, one function each ---- */
static int64_t do_add_range(struct vm *vm, uint64_t arg)
{
	struct vmm_range r;

	return arch_user_read(&r, uva(arg), sizeof(r)) ? -EFAULT : vm_add_range(vm, &r);
}

static int64_t do_claim_ports(struct vm *vm, uint64_t arg)
{
	struct vmm_ports p;

	return arch_user_read(&p, uva(arg), sizeof(p)) ? -EFAULT : vm_claim_ports(vm, &p);
}

/* Registers may be read and set while nobody is inside run. */
static int64_t registers(struct vm *vm, uint64_t arg, bool set)
{
	struct vmm_vcpu_regs r;
	struct vcpu *v;
	int64_t err;

	if (arch_user_read(&r, uva(arg), sizeof(r)))
		return -EFAULT;
	if (r.vcpu >= vm->config.vcpus || r.reserved)
		return -EINVAL;
	mutex_lock(&vm->lock);
	v = vm->vcpu[r.vcpu];
	err = vm->broken ? -EIO : vcpu_claim(v);
	if (err == 0) {
		err = set ? vcpu_set_regs(v, &r.regs) : vcpu_get_regs(v, &r.regs);
		vcpu_leave(v);
	}
	mutex_unlock(&vm->lock);
	if (err == 0 && !set && arch_user_write(uva(arg), &r, sizeof(r)))
		return -EFAULT;
	return err;
}

static int64_t do_get_regs(struct vm *vm, uint64_t arg) { return registers(vm, arg, false); }
static int64_t do_set_regs(struct vm *vm, uint64_t arg) { return registers(vm, arg, true); }

static int64_t do_set_irq(struct vm *vm, uint64_t arg)
{
	struct vmm_irq q;
	int64_t r;

	if (arch_user_read(&q, uva(arg), sizeof(q)))
		return -EFAULT;
	mutex_lock(&vm->lock); /* a rebuild takes the chips away */
	r = vm->broken ? -EIO : irq_set_gsi(vm, q.gsi, q.level != 0);
	mutex_unlock(&vm->lock);
	return r;
}

static int64_t do_msi(struct vm *vm, uint64_t arg)
{
	struct vmm_msi m;
	int64_t r;

	if (arch_user_read(&m, uva(arg), sizeof(m)))
		return -EFAULT;
	mutex_lock(&vm->lock);
	r = vm->broken ? -EIO : irq_msi(vm, m.address, m.data);
	mutex_unlock(&vm->lock);
	return r;
}

static int64_t do_pause(struct vm *vm, uint64_t arg) { (void)arg; return vm_pause(vm); }
static int64_t do_resume(struct vm *vm, uint64_t arg) { (void)arg; vm_resume(vm); return 0; }
static int64_t do_reset(struct vm *vm, uint64_t arg) { (void)arg; return vm_reset(vm); }

static int64_t do_save(struct vm *vm, uint64_t arg)
{
	struct vmm_state_buf b;
	struct state_out o = { .buf = NULL };
	uint8_t *buf;
	uint64_t cap;
	int64_t r;

	if (arch_user_read(&b, uva(arg), sizeof(b)))
		return -EFAULT;
	r = vm_save(vm, &o); /* measures */
	if (r < 0)
		return r;
	cap = o.len;
	buf = kmalloc(cap, MT_STATE);
	if (!buf)
		return -ENOMEM;
	o = (struct state_out){ .buf = buf, .cap = cap };
	r = vm_save(vm, &o);
	if (r == 0 && (o.overflow || o.len > b.size))
		r = -E2BIG;
	b.size = o.len;
	if (r == 0 && arch_user_write(uva(b.buf), buf, o.len))
		r = -EFAULT;
	if ((r == 0 || r == -E2BIG) && arch_user_write(uva(arg), &b, sizeof(b)))
		r = -EFAULT;
	kfree(buf);
	return r;
}

static int64_t do_load(struct vm *vm, uint64_t arg)
{
	struct vmm_state_buf b;
	uint8_t *buf;
	int64_t r;

	if (arch_user_read(&b, uva(arg), sizeof(b)))
		return -EFAULT;
	if (!b.size || b.size > LOAD_MAX)
		return -EINVAL;
	buf = kmalloc(b.size, MT_STATE);
	if (!buf)
		return -ENOMEM;
	r = arch_user_read(buf, uva(b.buf), b.size) ? -EFAULT : vm_load(vm, buf, b.size);
	kfree(buf);
	return r;
}

static int64_t do_rebuild(struct vm *vm, uint64_t arg)
{
	struct vmm_rebuild b;

	if (arch_user_read(&b, uva(arg), sizeof(b)))
		return -EFAULT;
	return b.reserved ? -EINVAL : vm_rebuild(vm, b.drop_memory != 0);
}

static int64_t do_next_page(struct vm *vm, uint64_t arg)
{
	gpa_t at;

	if (arch_user_read(&at, uva(arg), sizeof(at)))
		return -EFAULT;
	if (!gmem_next_present(vm, &at))
		return -ENOENT;
	return arch_user_write(uva(arg), &at, sizeof(at)) ? -EFAULT : 0;
}

static void stats_fill(struct vm *vm, struct vmm_stats *s)
{
	struct gmem_stats g;

	_Static_assert(HV_EXIT_KINDS <= ARRAY_SIZE(s->by_reason), "each kind of exit has its place");
	gmem_get_stats(vm, &g);
	*s = (struct vmm_stats){ .large_bytes = g.large_bytes, .small_bytes = g.small_bytes, .torture_rounds = vm->torture_rounds, .moves = vm->moves };
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		s->exits += vm->vcpu[i]->exits;
		for (unsigned k = 0; k < HV_EXIT_KINDS; k++)
			s->by_reason[k] += vm->vcpu[i]->exit_count[k];
	}
}

static int64_t do_stats(struct vm *vm, uint64_t arg)
{
	struct vmm_stats s;

	stats_fill(vm, &s);
	return arch_user_write(uva(arg), &s, sizeof(s)) ? -EFAULT : 0;
}

static int64_t vm_control(struct file *f, uint64_t cmd, uint64_t arg)
{
	static const struct { uint32_t cmd; int64_t (*fn)(struct vm *vm, uint64_t arg); } calls[] = {
		{ VMM_SET_IRQ, do_set_irq }, { VMM_MSI, do_msi }, { VMM_ADD_RANGE, do_add_range }, { VMM_CLAIM_PORTS, do_claim_ports },
		{ VMM_GET_REGS, do_get_regs }, { VMM_SET_REGS, do_set_regs }, { VMM_PAUSE, do_pause }, { VMM_RESUME, do_resume },
		{ VMM_RESET, do_reset }, { VMM_SAVE, do_save }, { VMM_LOAD, do_load }, { VMM_REBUILD, do_rebuild },
		{ VMM_NEXT_PAGE, do_next_page }, { VMM_STATS, do_stats },
	};
	struct vm *vm = vm_of(f);

	if (likely(cmd == VMM_RUN))
		return likely(arg < vm->config.vcpus) ? vcpu_run(vm->vcpu[arg]) : -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].cmd == cmd)
			return calls[i].fn(vm, arg);
	return -ENOTTY;
}

static const struct file_ops vm_file_ops = { .read = vm_read, .write = vm_write, .ioctl = vm_control, .mmap = vm_mmap, .release = vm_release };

/* ---- the system handle ---- */
static int64_t do_create(uint64_t arg)
{
	struct vmm_create c;
	struct file *f;
	struct vm *vm;
	int r;

	if (arch_user_read(&c, uva(arg), sizeof(c)))
		return -EFAULT;
	r = vm_create(&c, &vm);
	if (r < 0)
		return r;
	vm->pid = proc_pid_hook();
	f = file_new(&vm_file_ops, vm, O_RDWR);
	if (!f) {
		vm_unref(vm);
		return -ENOMEM;
	}
	return fd_install_hook(f); /* drops the file, and so the VM, when it fails */
}

struct cpu_time { const struct sched_group *group; uint64_t ns; };
static void add_cpu_time(struct world *w, void *ctx)
{
	struct cpu_time *t = ctx;

	t->ns += w->group == t->group ? w->run_total_ns : 0;
}

struct listing {
	struct vmm_list l;
	int error;
};

static void list_one(struct vm *vm, void *ctx)
{
	struct listing *g = ctx;
	struct vmm_vm_info info = { .id = vm->id, .pid = vm->pid, .vcpus = vm->config.vcpus, .state = READ_ONCE(vm->state), .memory = vm->config.memory };
	struct cpu_time cpu = { .group = &vm->group };
	struct gmem_stats s;

	if (g->l.count++ >= g->l.capacity || g->error)
		return;
	gmem_get_stats(vm, &s);
	memcpy(info.name, vm->config.name, sizeof(info.name));
	info.memory_used = s.touched;
	info.overhead = s.table_bytes + vm->config.vcpus * (sizeof(struct vcpu) + 4 * PAGE_SIZE);
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		info.exits += vm->vcpu[i]->exits;
	world_for_each(add_cpu_time, &cpu);
	info.cpu_ns = cpu.ns;
	g->error = arch_user_write(uva(g->l.vms + (uint64_t)(g->l.count - 1) * sizeof(info)), &info, sizeof(info));
}

static int64_t do_list(uint64_t arg)
{
	struct listing g = { .error = 0 };

	if (arch_user_read(&g.l, uva(arg), sizeof(g.l)))
		return -EFAULT;
	g.l.count = 0;
	vm_for_each(list_one, &g);
	return g.error || arch_user_write(uva(arg), &g.l, sizeof(g.l)) ? -EFAULT : 0;
}

static int64_t system_control(struct file *f, uint64_t cmd, uint64_t arg)
{
	(void)f;
	switch (cmd) {
	case VMM_CREATE: return do_create(arg);
	case VMM_LIST: return do_list(arg);
	}
	return -ENOTTY;
}

static int system_open(struct file *f, void *ctx)
{
	(void)f, (void)ctx;
	return hv ? 0 : -ENODEV;
}

static const struct file_ops system_ops = { .ioctl = system_control };

static void vmm_dev_init(void)
{
	if (devfs_add("vmm", system_open, &system_ops, NULL) < 0)
		log_error("/dev/vmm cannot be made");
}
INIT_CALL(INIT_SYS, vmm_dev_init);
