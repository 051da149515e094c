// A Vulkan layer that accepts command buffers and submissions and passes none of them on. With it a driver that compiles for hardware which
// is not there (RADV with RADV_FORCE_FAMILY) can be asked for pipelines through Dawn. Nothing is executed. The memory of buffers, which such
// hardware has not, is the host's; it is zero, or what the host wrote.
//
// The few declarations of the loader's layer interface stand here (LoaderLayerInterface.md of Vulkan-Loader), so that a C compiler is all that
// the layer needs.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/** A function of the driver; its type depends on its name. */
typedef void (*Function)(void);
typedef Function (*GetProcAddr)(void *handle, const char *name);

enum { SUCCESS = 0, OUT_OF_HOST_MEMORY = -1, INITIALIZATION_FAILED = -3, LINK_INFO = 0, INSTANCE_CREATE_INFO = 47, DEVICE_CREATE_INFO = 48 };

/** Properties of memory: on the device, and visible to the host without flushes, through its caches. */
enum { EVERYWHERE = 1 | 2 | 4 | 8 };

/** The next layer, or the driver. The second function is not used for instances. */
typedef struct Link {
  struct Link *next;
  GetProcAddr getInstanceProcAddr;
  GetProcAddr getDeviceProcAddr;
} Link;

/** A structure in the chain that the loader hangs on VkInstanceCreateInfo and VkDeviceCreateInfo. */
typedef struct LayerInfo {
  int32_t type;
  struct LayerInfo *next;
  int32_t function;
  Link *link;
} LayerInfo;

/** VkNegotiateLayerInterface. */
typedef struct {
  int32_t type;
  void *next;
  uint32_t version;
  GetProcAddr getInstanceProcAddr, getDeviceProcAddr, getPhysicalDeviceProcAddr;
} Negotiation;

/** VkPhysicalDeviceMemoryProperties. */
typedef struct {
  uint32_t typeCount;
  struct {
    uint32_t properties, heap;
  } types[32];
  uint32_t heapCount;
  struct {
    uint64_t size;
    uint32_t flags;
  } heaps[16];
} MemoryProperties;

/** VkMemoryRequirements, and what precedes it in VkMemoryRequirements2. */
typedef struct {
  uint64_t size, alignment;
  uint32_t types;
} Requirements;

typedef struct {
  int32_t type;
  void *next;
  Requirements requirements;
} Requirements2;

/** VkMemoryAllocateInfo. */
typedef struct {
  int32_t type;
  const void *next;
  uint64_t size;
  uint32_t memoryType;
} Allocation;

static GetProcAddr nextInstance, nextDevice;

static int32_t accept(void) { return SUCCESS; }
static void ignore(void) {}

static void memoryProperties(void *physicalDevice, MemoryProperties *found) {
  (void)physicalDevice;
  memset(found, 0, sizeof *found);
  found->typeCount = found->heapCount = 1;
  found->types[0].properties = EVERYWHERE;
  found->heaps[0].size = (uint64_t)16 << 30;
  found->heaps[0].flags = 1;
}

/** VkPhysicalDeviceMemoryProperties2 has a type and a chain before the properties. */
static void memoryProperties2(void *physicalDevice, void **found) { memoryProperties(physicalDevice, (MemoryProperties *)(found + 2)); }

static void bufferRequirements(void *device, uint64_t buffer, Requirements *found) {
  ((void (*)(void *, uint64_t, Requirements *))nextDevice(device, "vkGetBufferMemoryRequirements"))(device, buffer, found);
  found->types = 1;
}

static void bufferRequirements2(void *device, const void *info, Requirements2 *found) {
  ((void (*)(void *, const void *, Requirements2 *))nextDevice(device, "vkGetBufferMemoryRequirements2"))(device, info, found);
  found->requirements.types = 1;
}

static int32_t allocateMemory(void *device, const Allocation *info, const void *allocator, void **memory) {
  (void)device, (void)allocator;
  *memory = calloc(1, info->size);
  return *memory ? SUCCESS : OUT_OF_HOST_MEMORY;
}

static void freeMemory(void *device, void *memory, const void *allocator) {
  (void)device, (void)allocator;
  free(memory);
}

static int32_t mapMemory(void *device, char *memory, uint64_t offset, uint64_t size, uint32_t flags, void **data) {
  (void)device, (void)size, (void)flags;
  *data = memory + offset;
  return SUCCESS;
}

static int32_t createFence(void *device, const void *createInfo, const void *allocator, uint64_t *fence) {
  (void)device, (void)createInfo, (void)allocator;
  *fence = 1;
  return SUCCESS;
}

/** Returns what stands in for a function that records, submits, waits or has to do with memory, or NULL for any other one. */
static Function standIn(const char *name) {
  static const struct {
    const char *name;
    Function function;
  } known[] = {
      {"vkBeginCommandBuffer", (Function)accept},
      {"vkEndCommandBuffer", (Function)accept},
      {"vkResetCommandBuffer", (Function)accept},
      {"vkResetCommandPool", (Function)accept},
      {"vkQueueSubmit", (Function)accept},
      {"vkQueueSubmit2", (Function)accept},
      {"vkQueueWaitIdle", (Function)accept},
      {"vkDeviceWaitIdle", (Function)accept},
      {"vkCreateFence", (Function)createFence},
      {"vkDestroyFence", ignore},
      {"vkWaitForFences", (Function)accept},
      {"vkGetFenceStatus", (Function)accept},
      {"vkResetFences", (Function)accept},
      {"vkWaitSemaphores", (Function)accept},
      {"vkGetQueryPoolResults", (Function)accept},
      {"vkBindBufferMemory", (Function)accept},
      {"vkBindBufferMemory2", (Function)accept},
      {"vkFlushMappedMemoryRanges", (Function)accept},
      {"vkInvalidateMappedMemoryRanges", (Function)accept},
      {"vkUnmapMemory", ignore},
      {"vkUpdateDescriptorSets", ignore},
      {"vkGetPhysicalDeviceMemoryProperties", (Function)memoryProperties},
      {"vkGetPhysicalDeviceMemoryProperties2", (Function)memoryProperties2},
      {"vkGetPhysicalDeviceMemoryProperties2KHR", (Function)memoryProperties2},
      {"vkGetBufferMemoryRequirements", (Function)bufferRequirements},
      {"vkGetBufferMemoryRequirements2", (Function)bufferRequirements2},
      {"vkAllocateMemory", (Function)allocateMemory},
      {"vkFreeMemory", (Function)freeMemory},
      {"vkMapMemory", (Function)mapMemory},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(name, known[i].name)) return known[i].function;
  return strncmp(name, "vkCmd", 5) ? NULL : ignore;
}

/** Takes this layer's link off the chain of a create info. */
static Link *takeLink(const void *createInfo, int32_t type) {
  LayerInfo *info = ((const LayerInfo *)createInfo)->next;
  while (info && !(info->type == type && info->function == LINK_INFO)) info = info->next;
  if (!info) return NULL;
  Link *link = info->link;
  info->link = link->next;
  return link;
}

static int32_t createInstance(const void *createInfo, const void *allocator, void **instance) {
  Link *link = takeLink(createInfo, INSTANCE_CREATE_INFO);
  if (!link) return INITIALIZATION_FAILED;
  nextInstance = link->getInstanceProcAddr;
  int32_t (*create)(const void *, const void *, void **) = (void *)nextInstance(NULL, "vkCreateInstance");
  return create(createInfo, allocator, instance);
}

static int32_t createDevice(void *physicalDevice, const void *createInfo, const void *allocator, void **device) {
  Link *link = takeLink(createInfo, DEVICE_CREATE_INFO);
  if (!link) return INITIALIZATION_FAILED;
  nextDevice = link->getDeviceProcAddr;
  int32_t (*create)(void *, const void *, const void *, void **) = (void *)link->getInstanceProcAddr(NULL, "vkCreateDevice");
  return create(physicalDevice, createInfo, allocator, device);
}

static Function deviceFunction(void *device, const char *name) {
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (Function)deviceFunction;
  Function found = standIn(name);
  return found ? found : nextDevice(device, name);
}

static Function instanceFunction(void *instance, const char *name) {
  if (!strcmp(name, "vkGetInstanceProcAddr")) return (Function)instanceFunction;
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (Function)deviceFunction;
  if (!strcmp(name, "vkCreateInstance")) return (Function)createInstance;
  if (!strcmp(name, "vkCreateDevice")) return (Function)createDevice;
  Function found = standIn(name);
  return found ? found : nextInstance ? nextInstance(instance, name) : NULL;
}

EXPORT int32_t vkNegotiateLoaderLayerInterfaceVersion(Negotiation *negotiation) {
  negotiation->version = 2;
  negotiation->getInstanceProcAddr = instanceFunction;
  negotiation->getDeviceProcAddr = deviceFunction;
  negotiation->getPhysicalDeviceProcAddr = NULL;
  return SUCCESS;
}
