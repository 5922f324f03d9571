// Everything of graft::surgery.
#pragma once
#include "graft/surgery/blurpool.h"
#include "graft/surgery/count.h"
#include "graft/surgery/fuse.h"
#include "graft/surgery/fuse_modules.h"
#include "graft/surgery/mutable.h"
#include "graft/surgery/operations.h"
#include "graft/surgery/plan.h"
#include "graft/surgery/replace.h"
#include "graft/surgery/select.h"
