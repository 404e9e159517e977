#include "../context.h"
