/* The blocks of multishot receives. A receive gets a block when its socket has bytes, and returns it when they have been
 * delivered: so an idle connection has none. */
#include "proactor/iocp/iocp_backend.h"

struct block *iocp_get_block(struct iocp *iocp)
{
    struct block *block = iocp->spare;

    iocp->spare = NULL;
    if (block == NULL)
        block = proactor_receive_block(iocp->backend.owner);
    iocp->out_of_memory = block == NULL;
    return block;
}

void iocp_put_block(struct iocp *iocp, struct block *block)
{
    if (block == NULL)
        return;
    if (iocp->spare != NULL) {
        block_release(block);
        return;
    }
    block->begin = block->end = 0;
    iocp->spare = block;
}

void iocp_check_memory(struct iocp *iocp)
{
    if (iocp->out_of_memory)
        iocp_put_block(iocp, iocp_get_block(iocp));
}
