// Everything of graft::optim.
#pragma once
#include "graft/optim/adam.h"
#include "graft/optim/scheduler.h"
#include "graft/optim/sgd.h"
