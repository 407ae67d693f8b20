/* bcc carries this header of the kernel within itself. */
#include <bcc/bpf.h>
