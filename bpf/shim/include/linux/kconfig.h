/* bcc includes this before everything, and asks for one option; all else that depends on the kernel comes from BTF. */
#define CONFIG_BPF_SYSCALL 1
